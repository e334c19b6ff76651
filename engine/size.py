"""How large a network is."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: nn.Module, image_size: tuple[int, int]) -> float:
    """Of a forward pass for one image (H, W), counted without computing it."""
    model = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, *image_size, device="meta"))
    return counter.get_total_flops() / 2
