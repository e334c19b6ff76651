"""Lovasz-softmax: a convex surrogate of the IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.term import LossTerm, Term


class Lovasz(LossTerm):
    """Lovasz extension of 1 - IoU over the valid pixels of the batch, averaged over the classes in the target.

    Berman et al. 2018, "The Lovasz-Softmax loss", arXiv 1705.08790, algorithm 1.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        with torch.autocast(logits.device.type, enabled=False):
            p = torch.softmax(logits.float(), 1).movedim(1, 0).flatten(1)  # (C, NHW)
            labels = target.flatten()
            valid = labels != IGNORE_INDEX
            total, classes = logits.new_zeros((), dtype=torch.float32), logits.new_zeros((), dtype=torch.float32)
            for c in range(len(p)):  # class by class, to save memory
                own = (labels == c).float()
                # Ignored pixels have no error, so they come last and change nothing.
                errors, order = ((own - p[c]).abs() * valid).sort(descending=True)
                present = own.sum()
                counts = present > 0
                total = total + (errors * lovasz_gradient(own[order], present)).sum() * counts
                classes = classes + counts
        return Term(total / classes.clamp_min(1), classes.clamp(max=1))


def lovasz_gradient(own: Tensor, present: Tensor) -> Tensor:
    """Compute how much each error adds to 1 - IoU, from the largest error to the smallest: float32 (P,).

    Args:
        own: float32 (P,), 1 for pixels of the class and 0 for others, in order of decreasing error.
        present: sum of `own`.
    """
    missed = own.double().cumsum(0)
    false = (1 - own.double()).cumsum(0)
    loss = 1 - (present - missed) / (present + false)
    return torch.cat([loss[:1], loss[1:] - loss[:-1]]).to(own.dtype)
