"""Base class of loss terms that are averaged over pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.term import LossTerm

LARGEST = 10**12
"""Largest class weight. Their sum over the pixels of a batch stays in the range of float32."""


class PixelTerm(LossTerm):
    """A term averaged over the valid pixels or, with class weights, over their weights.

    Args:
        class_weights: one weight per class, or None for equal ones.

    Raises:
        TypeError: `class_weights` is a name instead of numbers.
        ValueError: a weight is negative, too large or NaN, or all of them are 0.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | str | None = None) -> None:
        super().__init__()
        if isinstance(class_weights, str):
            raise TypeError(f"class weights must be numbers, not '{class_weights}'; see losses.class_weights")
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if weights is not None and not ((weights >= 0) & (weights <= LARGEST)).all():
            raise ValueError(f"class_weights={class_weights}: each must be from 0 to {LARGEST:,}")
        if weights is not None and not weights.any():
            raise ValueError(f"class_weights={class_weights}: all are 0, so there is nothing to train for")
        self.register_buffer("class_weights", weights, persistent=False)

    def denominator(self, target: Tensor) -> Tensor:
        """Return the number of valid pixels, or the sum of their class weights."""
        if self.class_weights is None:
            return (target != IGNORE_INDEX).sum().float()
        return self.weight_of(target).sum()

    def weight_of(self, target: Tensor) -> Tensor:
        """Return the weight of each pixel, 0 if it is ignored: float32 (N, H, W)."""
        valid = target != IGNORE_INDEX
        return valid.float() if self.class_weights is None else self.class_weights[target.where(valid, 0)] * valid

    def pixel_losses(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute -log p of each pixel's class, and the pixel's weight from `weight_of`: float32 (N, H, W) each."""
        with torch.autocast(logits.device.type, enabled=False):
            surprise = F.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX, reduction="none")
        return surprise, self.weight_of(target)
