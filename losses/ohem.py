"""Cross-entropy of the hard pixels only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from losses.class_sums import widest_float
from losses.pixel_term import PixelTerm
from losses.term import Term


class OHEM(PixelTerm):
    """Cross-entropy averaged over hard pixels: online hard example mining.

    A pixel is hard if the probability of its class is below a threshold; a minimum share of the pixels, the hardest, is
    always kept. Shrivastava et al. 2016, arXiv 1604.03540, applied to pixels.

    Which pixels are hard depends on the whole batch, so micro-batches do not add up exactly. The loss of several is the
    mean over those with a labelled pixel.

    Args:
        threshold: pixels whose class has a lower probability are hard.
        min_kept: share of the valid pixels to keep if fewer are hard. The number of pixels is rounded up, and is exact
            even if several pixels have the same loss.
        class_weights: one weight per class, or None for equal ones. They weight the pixels but do not affect which
            pixels are hard, except that pixels of a class of weight 0 are ignored.

    Raises:
        ValueError: the threshold or share is not between 0 and 1.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: float = 1 / 16,
        class_weights: Sequence[float] | str | None = None,
    ) -> None:
        super().__init__(class_weights)
        if not 0 < threshold <= 1 or not 0 < min_kept <= 1:
            raise ValueError(f"threshold={threshold}, min_kept={min_kept}: both must be above 0 and at most 1")
        self.threshold, self.min_kept = threshold, min_kept

    def denominator(self, target: Tensor) -> Tensor:
        return (super().denominator(target) > 0).float()

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        surprise, weight = self.pixel_losses(logits, target)
        valid = weight > 0
        hardness = surprise.detach().where(valid, -1).flatten()
        # The number to keep stays on the device, which avoids a synchronisation; the rank breaks ties.
        order = hardness.topk(max(math.ceil(self.min_kept * hardness.numel()), 1)).indices
        asked = (valid.sum().to(widest_float(logits.device)) * self.min_kept).ceil()
        kept = hardness > -math.log(self.threshold)
        kept[order] |= torch.arange(len(order), device=order.device) < asked
        weight = weight * kept.view_as(weight)
        labelled = valid.any().float()
        return Term((surprise * weight).sum() / weight.sum().where(labelled > 0, 1), labelled)
