"""The memory layout of maps."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Whether (N, C, H, W) is stored pixel by pixel. False while exporting, where sizes are unknown."""
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def in_layout_of(like: Tensor, x: Tensor) -> Tensor:
    """Copy to channels_last if `like` is, and `x` is not.

    `torch.cat` of maps of different layouts is contiguous, and would have to be converted as a whole.
    """
    return x.contiguous(memory_format=torch.channels_last) if is_channels_last(like) else x


def with_gradient_in_its_layout(x: Tensor) -> Tensor:
    """Return x, whose gradient will be converted to channels_last if x is.

    Some losses return contiguous gradients, `F.cross_entropy` among them. The gradient of an interpolation to the size
    of the image takes two and a half times as long on these, not counting what converting them takes.
    """
    if x.requires_grad and not torch.compiler.is_compiling() and is_channels_last(x):
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
    return x
