"""The size of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: nn.Module, image_size: tuple[int, int]) -> float:
    """Count the multiply-adds of a forward pass for one image (H, W), without computing it if possible."""
    try:
        return _counted(copy.deepcopy(model).to("meta"), image_size, "meta")
    except Exception:  # the network reads values, which the meta device does not have
        return _counted(copy.deepcopy(model).cpu(), image_size, "cpu")


def _counted(model: nn.Module, image_size: tuple[int, int], device: str) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, *image_size, device=device))
    return counter.get_total_flops() / 2
