"""Where the time of training on a GPU goes: network, loss, optimiser, metric, and waiting for data.

python -m benchmarks.gpu              # uses the GPU if there is one; two minutes
python -m benchmarks.gpu --compile    # networks through torch.compile, too, which takes minutes to compile
python -m benchmarks.gpu --smoke      # small, to try it on a CPU
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import AdamW

from benchmarks.data import augmentation
from config.nodes import build_network, option_node
from data.accumulation import Window
from data.device_loading import DeviceTrainingLoader
from data.labels import LabelSet
from data.loading import TrainingBatch, TrainingLoader
from data.samples import Sample, SegmentationDataset
from data.workers import worker_count
from engine.compiled import Compiled
from engine.metrics import add_to_confusion
from engine.normalization import IMAGENET
from engine.schedules import constant
from engine.trainer import Trainer
from engine.training_step import Components, TrainingStep
from losses.combinations import ce_iou
from utils.tables import table
from utils.text import plural

CLASSES = 11
LABELS = LabelSet(tuple(str(i) for i in range(CLASSES)), tuple((i, i, i) for i in range(CLASSES)))


class Work(NamedTuple):
    """A network and its batches."""

    model: str
    size: tuple[int, int]
    batch_size: int


WORK = (
    Work("enet", (360, 480), 16),
    Work("espnet_s0", (512, 512), 16),
    Work("efficientdet_d0_seg", (512, 512), 16),
    Work("efficientdet_d4_seg", (512, 512), 8),
)
SMOKE = (Work("enet", (64, 64), 2),)


class Noise(SegmentationDataset):
    """Random samples in memory: reading costs a copy."""

    labels = LABELS

    def __init__(self, size: tuple[int, int], length: int) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (16, *size, 3), np.uint8)
        self.masks = rng.integers(0, CLASSES, (16, *size), np.uint8)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index % 16].copy(), self.masks[index % 16].copy(), self.name(index))


def step_of(work: Work, amp: Any = "auto", compiled: bool = False) -> tuple[Trainer, TrainingStep]:
    """Build a trainer, and its optimiser step for a network."""
    trainer = Trainer(epochs=1, amp=amp, compile=compiled)
    model: nn.Module = trainer.prepare(build_network(option_node("model", work.model), CLASSES)).train()
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}))
    optimizer = AdamW(model.parameters(), lr=1e-4, fused=True)
    components = Components(model, loss, optimizer, constant(optimizer, 1, 1))
    return trainer, TrainingStep(components, trainer.options, trainer.device)


def seconds_per(function: Callable[[], object], device: torch.device, budget: float) -> float:
    """Return the mean seconds of a call over about `budget` seconds, after two that are not timed."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(2):
        function()
    wait()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < budget or calls < 3:
        function()
        calls += 1
    wait()
    return (time.perf_counter() - start) / calls


def parts(work: Work, amp: Any, compiled: bool, budget: float) -> list[str]:
    """Return images/s of the network and of a whole step, the shares of loss and metric, and peak memory."""
    trainer, step = step_of(work, amp, compiled)
    model, device = step.model, trainer.device
    call: Callable[[torch.Tensor], Any] = Compiled(model) if compiled else model
    images = torch.randint(256, (work.batch_size, *work.size, 3), dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    masks = torch.randint(CLASSES, (work.batch_size, *work.size), dtype=torch.uint8, device=device)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64, device=device)
    batch = TrainingBatch(images, masks, ["noise"])

    def network() -> torch.Tensor:
        with torch.autocast(device.type, trainer.autocast, enabled=trainer.autocast is not None):
            found = call(IMAGENET(images, trainer.options.channels_last))
        return found[0] if isinstance(found, tuple) else found

    def backward() -> None:
        network().float().sum().backward()
        model.zero_grad(set_to_none=True)

    def whole_step() -> None:
        step(Window([batch], counted=1), 1)
        step.running._unread.clear()  # as a reading does every few steps

    logits = network().detach()
    prediction = logits.argmax(1)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    alone = seconds_per(backward, device, budget)
    whole = seconds_per(whole_step, device, budget)

    def loss_alone() -> None:
        own = logits.float().requires_grad_()
        step.loss(own, masks.long()).backward()

    loss_seconds = seconds_per(loss_alone, device, budget / 2)
    metric_seconds = seconds_per(lambda: add_to_confusion(confusion, prediction, masks), device, budget / 4)
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device.type == "cuda" else "-"
    return [
        work.model,
        f"{work.batch_size} x {work.size[0]}x{work.size[1]}",
        f"{amp}, compiled" if compiled else amp,
        f"{work.batch_size / alone:.0f}",
        f"{work.batch_size / whole:.0f}",
        f"{loss_seconds / whole:.0%}",
        f"{metric_seconds / whole:.0%}",
        peak,
    ]


def loop(work: Work, augment: str, cache: str, budget: float) -> list[str]:
    """Return images/s of the training loop, and the share of time that the GPU waits for batches.

    Args:
        augment: an option of conf/augmentation/; `crop` takes its crops from photos of twice the size.
        cache: `ram` or `device`.
    """
    trainer, step = step_of(work)
    device = trainer.device
    options: dict[str, Any] = {
        "image_size": work.size,
        "batch_size": work.batch_size,
        "seed": 0,
        "num_workers": worker_count("auto", device),
        "pin_memory": device.type == "cuda",
    }
    factor, length = (2, 512) if augment == "crop" else (1, 4096)
    samples = Noise((factor * work.size[0], factor * work.size[1]), length)
    transforms = augmentation(augment, work.size)
    loader: Iterable[TrainingBatch]
    if cache == "device":
        loader = DeviceTrainingLoader(samples, transforms, device=device, keep=True, **options)
    else:
        loader = TrainingLoader(samples, transforms, **options)
    batches = iter(loader)

    def from_loader() -> None:
        step(Window([next(batches)], counted=1), 1)
        step.running.read()  # waits for the device, as the trainer does every few steps

    for _ in range(10):
        from_loader()
    a_step = seconds_per(from_loader, device, budget)
    kept = Window([next(batches)], counted=1)

    def from_memory() -> None:
        step(kept, 1)
        step.running.read()

    alone = seconds_per(from_memory, device, budget / 2)
    waits = max(1 - alone / a_step, 0)
    rates = [f"{work.batch_size / seconds:.0f}" for seconds in (a_step, alone)]
    return [work.model, augment, cache, *rates, f"{waits:.0%}"]


def main() -> None:
    smoke, compiles = "--smoke" in sys.argv, "--compile" in sys.argv
    work, budget = (SMOKE, 0.1) if smoke else (WORK, 0.6)
    name = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {plural(torch.get_num_threads(), 'thread')}"
    )
    header = ["network", "batch", "precision", "network, images/s", "step, images/s", "loss", "metric", "peak GiB"]
    kinds = [("off", False), ("bf16", False), *([("bf16", True)] if compiles else [])]
    rows = [parts(each, amp, compiled, budget) for each in work for amp, compiled in kinds]
    print(table([header, *rows], f"forward and backward on {name}"), flush=True)
    header = ["network", "augmentation", "samples in", "loop, images/s", "step, images/s", "GPU waits"]
    runs = [(each, augment) for each in work[:1] + work[2:3] for augment in ("standard", "crop")]
    rows = [loop(each, augment, cache, 2 * budget) for each, augment in runs for cache in ("ram", "device")]
    print(table([header, *rows], f"the loop on {name}, precision auto"), flush=True)


if __name__ == "__main__":
    main()
