"""Pixel-wise cross-entropy."""

from __future__ import annotations

from losses.class_sums import ClassSums
from losses.pixel_term import PixelTerm
from losses.term import SumsTerm, Term


class CrossEntropy(PixelTerm, SumsTerm):
    """Cross-entropy, averaged over the valid pixels or, with class weights, over their weights."""

    def from_sums(self, sums: ClassSums) -> Term:
        if self.class_weights is None:
            return Term(sums.surprise.sum(), sums.present.sum())
        return Term((self.class_weights * sums.surprise).sum(), (self.class_weights * sums.present).sum())
