"""Pixel-wise cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.class_sums import ClassSums
from losses.pixel_term import PixelTerm
from losses.term import SumsTerm, Term


class CrossEntropy(PixelTerm, SumsTerm):
    """Cross-entropy, averaged over the valid pixels or, with class weights, over their weights."""

    def from_sums(self, sums: ClassSums) -> Term:
        if self.class_weights is None:
            return Term(sums.surprise.sum(), sums.present.sum())
        return Term((self.class_weights * sums.surprise).sum(), (self.class_weights * sums.present).sum())


class SmoothedCrossEntropy(PixelTerm):
    """Cross-entropy with label smoothing, averaged as without it.

    The target of a pixel of class t is 1 - s + s / C for class t and s / C for the others, each times its class weight.
    Szegedy et al. 2016, arXiv 1512.00567, section 7.

    Args:
        label_smoothing: s, from 0 to below 1.
        class_weights: one weight per class, or None for equal ones.

    Raises:
        ValueError: `label_smoothing` is out of range.
    """

    def __init__(self, label_smoothing: float, class_weights: Sequence[float] | str | None = None) -> None:
        super().__init__(class_weights)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must be at least 0 and below 1")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        with torch.autocast(logits.device.type, enabled=False):
            total = F.cross_entropy(
                logits.float(),
                target,
                self.class_weights,
                ignore_index=IGNORE_INDEX,
                reduction="sum",
                label_smoothing=self.label_smoothing,
            )
        return Term(total, self.denominator(target))
