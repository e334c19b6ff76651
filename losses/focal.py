"""Focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from losses.pixel_term import PixelTerm
from losses.term import Term


class Focal(PixelTerm):
    """(1 - p)^gamma times the cross-entropy -log p of each pixel, where p is the probability of its class.

    Averaged as cross-entropy. Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv 1708.02002, equation 5.

    Args:
        gamma: how strongly easy pixels are down-weighted; 0 gives cross-entropy.
        class_weights: one weight per class (their alpha), or None for equal ones.

    Raises:
        ValueError: gamma is negative or above 100.
    """

    def __init__(self, gamma: float = 2.0, class_weights: Sequence[float] | str | None = None) -> None:
        super().__init__(class_weights)
        if not 0 <= gamma <= 100:
            raise ValueError(f"gamma={gamma}: must be from 0 to 100")
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        surprise, weight = self.pixel_losses(logits, target)
        # Computed from log p: 1 - p is inaccurate for p near 1, and its power has no gradient at 0.
        missing = -torch.expm1(-surprise)
        return Term((missing.clamp_min(1e-12) ** self.gamma * surprise * weight).sum(), weight.sum())
