"""An average of the weights over a training, which is often better than the final weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a network's parameters and buffers (Polyak and Juditsky 1992), with a
    warm-up that soon forgets the random initial weights.

    Args:
        model: the network that is trained, on its device.
        decay: factor of the old average at each step, at most (1 + n) / (10 + n) at step n.

    Attributes:
        module: the network with the averaged weights, in eval mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._own, self._trained = [own for own, _ in floats], [trained for _, trained in floats]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]  # of batch norm

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after optimiser step `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._own, self._trained, weight)
        for own, trained in self._counters:
            own.copy_(trained)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
