"""An average of the weights that a training goes through, which often does better than the last of them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a network's parameters and buffers (Polyak and Juditsky 1992; with a warm-up, so
    that the random weights of the beginning are soon forgotten).

    Args:
        model: the network that is trained.
        decay: how much of the average stays at each step; less in the first steps, (1 + n) / (10 + n) of step n.

    Attributes:
        module: the network with the averaged weights, in eval mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after optimiser step `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        own, other = _tensors(self.module), _tensors(model)
        floats = [pair for pair in zip(own, other, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], weight)
        for a, b in zip(own, other, strict=True):
            if not a.is_floating_point():  # the counters of batch norm
                a.copy_(b)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
