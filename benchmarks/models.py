"""Latency of networks against public implementations: 1 image of 512x512, eager, float32, CPU.

python -m benchmarks.models
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import segmentation_models_pytorch as smp
import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from benchmarks.timing import interleaved, milliseconds
from models.deeplabv3plus import DeepLabV3Plus
from models.encoders import EfficientNetEncoder
from utils.tables import table
from utils.text import plural

SIZE, CLASSES, ROUNDS = (512, 512), 19, 9

Forward = Callable[[Tensor], object]


def encoder(name: str) -> tuple[Forward, Forward]:
    """Return their encoder and ours, both with the final 1x1 convolution."""
    theirs = EfficientNet.from_name(name.replace("_", "-"), include_top=False, image_size=None).eval()
    return theirs.extract_features, EfficientNetEncoder(name, head=True).eval()


def deeplab(output_stride: Literal[8, 16], as_theirs: bool = False) -> tuple[nn.Module, nn.Module]:
    """Return their DeepLabV3+ and ours, with EfficientNet-B0 and separable convolutions.

    Args:
        as_theirs: omit the second convolution of the decoder, which is in the paper but not in theirs.
    """
    theirs = smp.DeepLabV3Plus(
        "efficientnet-b0", encoder_weights=None, encoder_output_stride=output_stride, classes=CLASSES
    )
    ours = DeepLabV3Plus(CLASSES, "efficientnet_b0", output_stride=output_stride, separable=True)
    if as_theirs:
        ours.decoder = ours.decoder[:1]
    return theirs.eval(), ours.eval()


RIVALS: dict[str, Callable[[], tuple[Forward, Forward]]] = {
    "EfficientNet-B0 / efficientnet-pytorch": functools.partial(encoder, "efficientnet_b0"),
    "EfficientNet-B4 / efficientnet-pytorch": functools.partial(encoder, "efficientnet_b4"),
    "DeepLabV3+, stride 16, their decoder / segmentation_models.pytorch": functools.partial(deeplab, 16, True),
    "DeepLabV3+, stride 8 / segmentation_models.pytorch": functools.partial(deeplab, 8),
}


@torch.inference_mode()
def main() -> None:
    rows = [["ours / theirs", "ours", "theirs", "ratio"]]
    image = torch.randn(1, 3, *SIZE)
    for name, build in RIVALS.items():
        theirs, ours = build()
        rivals = {"ours": functools.partial(ours, image), "theirs": functools.partial(theirs, image)}
        times = interleaved(rivals, ROUNDS, warmup=1)
        ratio = f"{times['ours'] / times['theirs']:.2f}"
        rows.append([name, milliseconds(times["ours"]), milliseconds(times["theirs"]), ratio])
    print(table(rows, f"1 x {SIZE[0]}x{SIZE[1]}, {plural(torch.get_num_threads(), 'thread')}"))


if __name__ == "__main__":
    main()
