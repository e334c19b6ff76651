"""Inference and training steps of the networks by memory layout and precision, on one thread of a CPU.

python -m benchmarks.networks
python -m benchmarks.networks enet fast_scnn --work training --batch 8 --size 180 240
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.calls import LAYOUTS, Call, inference_of, random_batch, step_of
from benchmarks.timing import interleaved
from engine.pointwise import compute_with_onednn
from engine.size import multiply_adds
from inference.folding import fold_batch_norms
from losses.combinations import cross_entropy
from models.bayesian_segnet import BayesianSegNet
from models.deeplabv3plus import DeepLabV3Plus
from models.dilated_unet import DilatedUNet
from models.efficient_segnet import EfficientSegNet
from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.espnet import ESPNet
from models.fast_scnn import FastSCNN
from models.separable_unet import SeparableUNet
from models.unet import UNet
from utils.memory import keep_freed_memory
from utils.tables import table

CLASSES = 11
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "enet": lambda: ENet(CLASSES),
    "fast_scnn": lambda: FastSCNN(CLASSES),
    "espnet_s0": lambda: ESPNet(CLASSES),
    "espnet_lite0": lambda: ESPNet(CLASSES, encoder="efficientnet_lite0"),
    "separable_unet": lambda: SeparableUNet(CLASSES),
    "dilated_unet": lambda: DilatedUNet(CLASSES),
    "unet": lambda: UNet(CLASSES),
    "bayesian_segnet": lambda: BayesianSegNet(CLASSES),
    "efficient_segnet": lambda: EfficientSegNet(CLASSES),
    "efficientdet_d0": lambda: EfficientDetSeg(CLASSES),
    "deeplab_lite0": lambda: DeepLabV3Plus(CLASSES, encoder="efficientnet_lite0"),
    "deeplab_lite0_separable": lambda: DeepLabV3Plus(CLASSES, encoder="efficientnet_lite0", separable=True),
    "deeplab_xception65": lambda: DeepLabV3Plus(CLASSES),
}


def inference_calls(build: Callable[[], nn.Module], images: Tensor, _: Tensor) -> dict[str, Call]:
    """Return a forward pass for each memory layout."""
    return {
        name: inference_of(  # as the Predictor does
            fold_batch_norms(build().eval()).to(memory_format=layout), images.contiguous(memory_format=layout)
        )
        for name, layout in LAYOUTS.items()
    }


def training_calls(build: Callable[[], nn.Module], images: Tensor, target: Tensor) -> dict[str, Call]:
    """Return a training step with cross-entropy for each memory layout, and with bf16."""

    def call(layout: torch.memory_format, bf16: bool = False) -> Call:
        network = build().to(memory_format=layout)
        if layout == torch.channels_last:
            compute_with_onednn(network)  # as the Trainer does
        forward = torch.autocast("cpu", torch.bfloat16, enabled=bf16)(network.__call__)
        return step_of(network, cross_entropy(), images.contiguous(memory_format=layout), target, forward)

    calls = {name: call(layout) for name, layout in LAYOUTS.items()}
    return calls | {"channels_last, bf16": call(torch.channels_last, bf16=True)}


def times_of(name: str, work: str, shape: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Return the median seconds of a network for images (N, H, W), by layout and precision."""
    calls = (training_calls if work == "training" else inference_calls)(NETWORKS[name], *random_batch(shape, CLASSES))
    return interleaved(calls, rounds, warmup=1, clock=time.process_time)


def row_of(name: str, macs: float, times: dict[str, float], images: int) -> list[str]:
    """Return the row of a network: multiply-adds per image, times with ratios to the first, images per second."""
    first, *others = times.values()
    cells = [f"{first * 1000:.0f} ms", *(f"{other * 1000:.0f} ms ({other / first:.2f})" for other in others)]
    return [name, f"{macs / 1e9:.2f}", *cells, f"{images / times['channels_last']:.1f}"]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time networks by memory layout and precision, on one thread.")
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; by default all")
    parser.add_argument("--work", choices=("inference", "training"), default="inference")
    parser.add_argument("--size", nargs=2, type=int, default=(192, 256), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(words)
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: none of {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    keep_freed_memory()  # as the Trainer and infer.py do
    shape = (arguments.batch, *arguments.size)
    names = arguments.names or list(NETWORKS)
    found = {name: times_of(name, arguments.work, shape, arguments.rounds) for name in names}
    head = [arguments.work, "GMACs", *found[names[0]], "images/s, channels_last"]
    macs = {name: multiply_adds(NETWORKS[name](), tuple(arguments.size)) for name in names}
    rows = [row_of(name, macs[name], found[name], arguments.batch) for name in names]
    print(table([head, *rows], f"{' x '.join(map(str, shape))}, CPU time of one thread"))


if __name__ == "__main__":
    main()
