"""Cross-entropy of the hard pixels alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.pixel_term import PixelTerm
from losses.term import Term


class OHEM(PixelTerm):
    """Cross-entropy averaged over the pixels whose class has a probability below a threshold, and over the hardest
    ones in any case: online hard example mining, Shrivastava et al. 2016, arXiv 1604.03540, for pixels.

    Which pixels are hard depends on the whole batch, so that micro-batches do not add up: their mean is taken.

    Args:
        threshold: probability from which on a pixel is easy.
        min_kept: share of the valid pixels that count as hard at least.
        class_weights: one weight a class, or None for equal ones; they weigh the pixels, and choose none.

    Raises:
        ValueError: a threshold or share that is not between 0 and 1.
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
        return torch.ones((), device=target.device)

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        surprise, weight = self.of_pixels(logits, target)
        valid = target != IGNORE_INDEX
        # The least surprise among the hardest: counted on the device, which nothing has to wait for.
        most = max(math.ceil(self.min_kept * surprise.numel()), 1)
        hardest = surprise.detach().where(valid, -1).flatten().topk(most).values
        place = (valid.sum() * self.min_kept).ceil().long() - 1
        bound = hardest.gather(0, place.clamp_min(0).unsqueeze(0)).clamp(max=-math.log(self.threshold))
        kept = weight * (valid & (surprise.detach() >= bound))
        return Term((surprise * kept).sum() / kept.sum().clamp_min(1e-12), torch.ones_like(bound[0]))
