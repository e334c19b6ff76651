"""The size of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn

QUICKLY_COMPUTED = 128 * 128
"""Pixels of an image up to which a network computes faster on the CPU than the meta device finds the shapes."""


def in_channels_of(model: nn.Module) -> int:
    """Return the number of channels of the images that a network takes: its attribute `in_channels`, or 3."""
    return getattr(model, "in_channels", 3)


def multiply_adds(model: nn.Module, image_size: tuple[int, int]) -> float:
    """Count the multiply-adds of a forward pass for one image (H, W), which is not computed if the image is large.

    Args:
        model: not changed, unless it is on the meta device: then it is put in eval mode.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return _counted(model.to("meta"), image_size, "meta")
    if image_size[0] * image_size[1] <= QUICKLY_COMPUTED:
        return _counted(copy.deepcopy(model).cpu(), image_size, "cpu")
    try:
        return _counted(copy.deepcopy(model).to("meta"), image_size, "meta")
    except Exception:  # the network reads values, which the meta device does not have
        return _counted(copy.deepcopy(model).cpu(), image_size, "cpu")


def _counted(model: nn.Module, image_size: tuple[int, int], device: str) -> float:
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, which infer.py does not need

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, in_channels_of(model), *image_size, device=device))
    return counter.get_total_flops() / 2
