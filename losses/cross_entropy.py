"""Pixel-wise cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.class_sums import ClassSums
from losses.term import SumsTerm, Term


class CrossEntropy(SumsTerm):
    """Cross-entropy, averaged over the valid pixels or, with class weights, over their weights.

    Args:
        class_weights: one weight a class, or None for equal ones.

    Raises:
        TypeError: a name in place of the numbers.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | str | None = None) -> None:
        super().__init__()
        if isinstance(class_weights, str):
            raise TypeError(f"class weights must be numbers, not '{class_weights}'; see losses.class_weights")
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def denominator(self, target: Tensor) -> Tensor:
        """Number of valid pixels, or the sum of their class weights."""
        valid = target != IGNORE_INDEX
        if self.class_weights is None:
            return valid.sum().float()
        return (self.class_weights[target.where(valid, 0)] * valid).sum()

    def from_sums(self, sums: ClassSums) -> Term:
        if self.class_weights is None:
            return Term(sums.surprise.sum(), sums.present.sum())
        return Term((self.class_weights * sums.surprise).sum(), (self.class_weights * sums.present).sum())
