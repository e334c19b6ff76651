"""Training steps, inference and loss against public implementations of the same work, on a CPU in float32.

git clone https://github.com/davidtvs/PyTorch-ENet ../PyTorch-ENet
git clone https://github.com/zh320/realtime-semantic-segmentation-pytorch ../zh320
git clone https://github.com/Tramac/Fast-SCNN-pytorch ../Fast-SCNN-pytorch
python -m benchmarks.peers --enet ../PyTorch-ENet --enet-zh320 ../zh320 --fast-scnn ../Fast-SCNN-pytorch

Networks of peers are built from these clones and from the installed segmentation-models-pytorch. Rows of peers that are
missing are skipped. --smoke uses tiny inputs, to try the script.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.calls import LAYOUTS, Call, Loss, inference_of, random_batch, step_of
from benchmarks.loss import gradient
from benchmarks.models import deeplab
from benchmarks.timing import clock_of_computations, interleaved, milliseconds
from engine.pointwise import compute_with_onednn
from engine.size import multiply_adds
from inference.folding import fold_batch_norms
from losses.combinations import ce_iou, cross_entropy
from models.enet import ENet
from models.fast_scnn import FastSCNN
from models.unet import UNet
from utils.memory import keep_freed_memory
from utils.tables import table

CLASSES = 19
HEAD = ["work", "threads", "GMACs, theirs / ours", "theirs", "channels_last", "ours", "channels_last", "ours / theirs"]


class Skipped(Exception):
    """A peer that is not available; the message says how to get it."""


class Pair(NamedTuple):
    """A peer's network and ours."""

    theirs: nn.Module
    ours: nn.Module


class Work(NamedTuple):
    """What to time.

    Attributes:
        name: as shown in the table.
        shape: (N, H, W) of the images.
        training: time forward, loss, backward and AdamW's step, instead of only the forward pass in eval mode.
        rounds: number of rounds; in each, a network is called once per layout.
    """

    name: str
    build: Callable[[], Pair]
    shape: tuple[int, int, int]
    training: bool
    rounds: int = 4


def module_at(clone: Path | None, file: str, option: str, url: str) -> Any:
    """Import a file of a user's clone. It may import other files of its folder.

    Raises:
        Skipped: the clone or the file does not exist.
    """
    if clone is None or not (clone / file).is_file():
        where = "no clone given" if clone is None else f"there is no {clone / file}"
        raise Skipped(f"{where}; git clone {url} and pass {option}=<path>")
    path = clone / file
    package = ModuleType(f"peer{option}")  # not that of the clone, which has the name of ours and may need more
    package.__path__ = [str(path.parent)]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.{path.stem}")


def enet(clone: Path | None) -> Pair:
    """Return both ENets; raises the same errors as `module_at`."""
    module = module_at(clone, "models/enet.py", "--enet", "https://github.com/davidtvs/PyTorch-ENet")
    return Pair(module.ENet(CLASSES), ENet(CLASSES))


def enet_of_zh320(clone: Path | None) -> Pair:
    """Return both ENets; raises the same errors as `module_at`."""
    url = "https://github.com/zh320/realtime-semantic-segmentation-pytorch"
    module = module_at(clone, "models/enet.py", "--enet-zh320", url)
    return Pair(module.ENet(num_class=CLASSES), ENet(CLASSES))


def fast_scnn(clone: Path | None) -> Pair:
    """Return both Fast-SCNNs; raises the same errors as `module_at`."""
    module = module_at(clone, "models/fast_scnn.py", "--fast-scnn", "https://github.com/Tramac/Fast-SCNN-pytorch")
    return Pair(module.FastSCNN(CLASSES), FastSCNN(CLASSES))


def unet() -> Pair:
    """Return U-Nets of about the same size: theirs has the convolutions of VGG-13 as its encoder."""
    channels = (512, 256, 128, 64)
    theirs = smp.Unet("vgg13_bn", encoder_weights=None, encoder_depth=4, decoder_channels=channels, classes=CLASSES)
    return Pair(theirs, UNet(CLASSES))


def deeplabv3plus() -> Pair:
    """Return DeepLabV3+ with EfficientNet-B0 and separable convolutions, both with their decoder."""
    return Pair(*deeplab(16, as_theirs=True))


def logits_of(output: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the main logits of a network that may return auxiliary ones as well."""
    return output if isinstance(output, Tensor) else output[0]


def network_calls(work: Work, pair: Pair) -> dict[str, Call]:
    """Return a function for each network and memory layout."""
    images, target = random_batch(work.shape, CLASSES)
    losses: dict[str, Loss] = {
        "theirs": lambda output, target: F.cross_entropy(logits_of(output), target),
        "ours": cross_entropy(),
    }
    calls: dict[str, Call] = {}
    for who, network in pair._asdict().items():
        for layout, memory_format in LAYOUTS.items():
            # A copy, since networks are converted in place.
            own = copy.deepcopy(network).to(memory_format=memory_format)
            given = images.contiguous(memory_format=memory_format)
            if work.training:
                if who == "ours" and memory_format == torch.channels_last:
                    compute_with_onednn(own)  # as the Trainer does
                calls[f"{who}, {layout}"] = step_of(own, losses[who], given, target)
            else:
                if who == "ours":
                    own = fold_batch_norms(own.eval())  # as the Predictor does
                calls[f"{who}, {layout}"] = inference_of(own, given)
    return calls


def loss_calls(shape: tuple[int, int, int]) -> dict[str, Call]:
    """Return functions that compute the gradient of cross-entropy + soft-IoU, for each memory layout of the logits."""
    jaccard = smp.losses.JaccardLoss("multiclass")

    def theirs(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target) + jaccard(logits, target)

    generator = torch.Generator().manual_seed(0)
    n, height, width = shape
    target = torch.randint(CLASSES, shape, generator=generator)
    losses: dict[str, Loss] = {
        "theirs": theirs,
        "ours": ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}),
    }
    calls: dict[str, Call] = {}
    for who, loss in losses.items():
        for layout, memory_format in LAYOUTS.items():
            logits = torch.randn(n, CLASSES, height, width, generator=generator)
            logits = logits.contiguous(memory_format=memory_format).requires_grad_()
            calls[f"{who}, {layout}"] = functools.partial(gradient, loss, logits, target)
    return calls


def rows_of(name: str, gmacs: str, calls: dict[str, Call], threads: Sequence[int], rounds: int) -> Iterator[list[str]]:
    """Yield one row per number of threads. The ratio is between the faster layouts of both.

    One thread is timed in CPU time, several in wall-clock time.
    """
    for count in threads:
        torch.set_num_threads(count)
        times = interleaved(calls, rounds, warmup=1, clock=clock_of_computations())
        best = {who: min(times[f"{who}, {layout}"] for layout in LAYOUTS) for who in ("theirs", "ours")}
        cells = [milliseconds(times[f"{who}, {layout}"]) for who in ("theirs", "ours") for layout in LAYOUTS]
        yield [name, str(count), gmacs, *cells, f"{best['ours'] / best['theirs']:.2f}"]


def works(arguments: argparse.Namespace) -> list[Work]:
    """Return the networks to time."""
    of_enet, of_fast_scnn = functools.partial(enet, arguments.enet), functools.partial(fast_scnn, arguments.fast_scnn)
    of_zh320 = functools.partial(enet_of_zh320, arguments.enet_zh320)
    found = [
        Work("ENet / PyTorch-ENet, step", of_enet, (4, 360, 480), True),
        Work("ENet / PyTorch-ENet, step", of_enet, (8, 180, 240), True),
        Work("ENet / PyTorch-ENet, inference", of_enet, (1, 512, 512), False, 15),
        # Theirs takes only multiples of 8, so not 180.
        Work("ENet / zh320, step", of_zh320, (4, 360, 480), True),
        Work("ENet / zh320, inference", of_zh320, (1, 512, 512), False, 15),
        # Theirs takes only multiples of 32.
        Work("Fast-SCNN / Fast-SCNN-pytorch, step", of_fast_scnn, (4, 384, 480), True),
        Work("Fast-SCNN / Fast-SCNN-pytorch, inference", of_fast_scnn, (1, 512, 512), False, 15),
        Work("U-Net / SMP, step", unet, (1, 256, 256), True),
        Work("DeepLabV3+ B0 / SMP, step", deeplabv3plus, (2, 256, 256), True),
    ]
    return [work._replace(shape=(2, 64, 64), rounds=1) for work in found] if arguments.smoke else found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare training steps, inference and loss with public networks.")
    parser.add_argument("--enet", type=Path, metavar="CLONE", help="clone of davidtvs/PyTorch-ENet")
    parser.add_argument(
        "--enet-zh320", type=Path, metavar="CLONE", help="clone of zh320/realtime-semantic-segmentation-pytorch"
    )
    parser.add_argument("--fast-scnn", type=Path, metavar="CLONE", help="clone of Tramac/Fast-SCNN-pytorch")
    parser.add_argument("--only", metavar="TEXT", help="only rows whose work contains this text")
    parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads; by default 1 and PyTorch's default")
    parser.add_argument("--smoke", action="store_true", help="tiny inputs and one round, to try the script")
    arguments = parser.parse_args(words)

    def wanted(name: str) -> bool:
        return arguments.only is None or arguments.only in name

    keep_freed_memory()  # as the Trainer and infer.py do
    before = torch.get_num_threads()
    threads = list(dict.fromkeys(arguments.threads or (1, before)))
    rows = [HEAD]
    try:
        for work in works(arguments):
            n, height, width = work.shape
            name = f"{work.name}, {n}x{height}x{width}"
            if not wanted(name):
                continue
            try:
                pair = work.build()
            except Skipped as reason:
                print(f"{name}: skipped: {reason}")
                continue
            gmacs = " / ".join(f"{multiply_adds(network, (height, width)) / 1e9:.2f}" for network in pair)
            rows += rows_of(name, gmacs, network_calls(work, pair), threads, work.rounds)
        shape = (1, 64, 64) if arguments.smoke else (2, 512, 512)
        name = f"CE + soft-IoU / SMP, {shape[0]}x{CLASSES}x{shape[1]}x{shape[2]}"
        if wanted(name):
            rows += rows_of(name, "", loss_calls(shape), threads, 1 if arguments.smoke else 4)
    finally:
        torch.set_num_threads(before)
    print(table(rows, "float32, CPU"))


if __name__ == "__main__":
    main()
