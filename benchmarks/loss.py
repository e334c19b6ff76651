"""Soft-IoU, with and without cross-entropy, forward and backward, against a common implementation with one-hot tensors.

Ours is timed on both memory layouts of the logits; the Trainer's are channels_last.

python -m benchmarks.loss
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.calls import Loss
from benchmarks.timing import clock_of_computations, in_new_process, interleaved, milliseconds
from data.labels import IGNORE_INDEX
from losses.combinations import ce_iou, soft_iou
from utils.memory import memory
from utils.tables import table
from utils.text import plural

SHAPE = (4, 21, 512, 512)
ROUNDS = 5


def usual_soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Compute softmax, one-hot, product and sum, as most published soft-IoU and soft-Dice losses do."""
    valid = target != IGNORE_INDEX
    mask = valid.unsqueeze(1)
    p = logits.softmax(1) * mask
    one_hot = F.one_hot(target.where(valid, 0), logits.shape[1]).permute(0, 3, 1, 2) * mask
    intersection = (p * one_hot).sum((0, 2, 3))
    union = (p + one_hot).sum((0, 2, 3)) - intersection
    return 1 - (intersection / union)[one_hot.sum((0, 2, 3)) > 0].mean()


def usual_ce_iou(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX) + usual_soft_iou(logits, target)


RIVALS: dict[str, dict[str, Loss]] = {
    "CE + soft-IoU": {
        "usual": usual_ce_iou,
        "ours": ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}),
    },
    "soft-IoU": {"usual": usual_soft_iou, "ours": soft_iou()},
}


def inputs(shape: tuple[int, ...], layout: torch.memory_format = torch.contiguous_format) -> tuple[Tensor, Tensor]:
    """Return logits of a memory layout, and a target with a tenth of its pixels ignored."""
    generator = torch.Generator().manual_seed(0)
    n, classes, height, width = shape
    logits = torch.randn(shape, generator=generator)
    target = torch.randint(classes, (n, height, width), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = IGNORE_INDEX
    return logits.contiguous(memory_format=layout).requires_grad_(), target


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the logits, by a forward and a backward pass."""
    (found,) = torch.autograd.grad(loss(logits, target), logits)
    return found


def extra_peak(name: str, rival: str) -> int:
    """Return the peak bytes of a forward and backward pass besides its inputs. Call in a new process."""
    loss = RIVALS[name][rival]
    gradient(loss, *inputs((1, 3, 32, 32)))  # load libraries before measuring
    logits, target = inputs(SHAPE)
    before = memory("VmRSS")
    gradient(loss, logits, target)
    return memory("VmHWM") - before


def compare(name: str) -> None:
    """Print time, memory and the difference of the gradients for one loss."""
    contiguous = inputs(SHAPE)
    calls = {rival: functools.partial(gradient, loss, *contiguous) for rival, loss in RIVALS[name].items()}
    channels_last = inputs(SHAPE, torch.channels_last)
    calls["ours, channels_last"] = functools.partial(gradient, RIVALS[name]["ours"], *channels_last)
    times = interleaved(calls, ROUNDS, warmup=1, clock=clock_of_computations())
    expected = calls["usual"]()
    peaks = {rival: in_new_process(extra_peak, name, rival) for rival in RIVALS[name]}
    difference = (calls["ours"]() - expected).abs().max() / expected.abs().max()
    memory_of = {rival: f"{peak / 2**20:.0f} MiB" for rival, peak in peaks.items()}
    print(
        table(
            [
                [name, "forward + backward", "extra peak memory"],
                *([rival, milliseconds(times[rival]), memory_of.get(rival, "")] for rival in calls),
                ["ours / usual", f"{times['ours'] / times['usual']:.2f}", f"{peaks['ours'] / peaks['usual']:.2f}"],
                ["ours, channels_last / contiguous", f"{times['ours, channels_last'] / times['ours']:.2f}", ""],
            ],
            f"{SHAPE}, {plural(torch.get_num_threads(), 'thread')}",
        )
    )
    print(f"largest difference of the gradients: {difference:.1e} of the largest gradient\n")


if __name__ == "__main__":
    for name in RIVALS:
        compare(name)
