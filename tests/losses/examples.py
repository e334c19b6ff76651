"""Helpers for the tests of loss terms."""

from __future__ import annotations

import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.term import LossTerm

CLASSES = 5


def example(seed: int, n: int = 2, height: int = 7, width: int = 5, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    """Return logits and a target without class 2."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, CLASSES, height, width, generator=generator)
    target = torch.randint(CLASSES, (n, height, width), generator=generator)
    target[target == 2] = 4
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE_INDEX
    return logits, target


def total_and_gradient(term: LossTerm, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the term's total and denominator, and the gradient of its value."""
    leaf = logits.clone().requires_grad_()
    total, denominator = term(leaf, target)
    (total / denominator.where(denominator > 0, 1)).backward()
    assert leaf.grad is not None
    return total.detach(), denominator, leaf.grad
