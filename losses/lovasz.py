"""Lovasz-softmax: a convex surrogate of the IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.term import LossTerm, Term


class Lovasz(LossTerm):
    """Mean over the classes present of the Lovasz extension of 1 - IoU, over the valid pixels of the batch (Berman et
    al. 2018, "The Lovasz-Softmax loss", arXiv 1705.08790, algorithm 1)."""

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        with torch.autocast(logits.device.type, enabled=False):
            p = torch.softmax(logits.float(), 1).movedim(1, 0).flatten(1)  # (C, NHW)
            labels = target.flatten()
            valid = labels != IGNORE_INDEX
            total, classes = logits.new_zeros((), dtype=torch.float32), logits.new_zeros((), dtype=torch.float32)
            for c in range(len(p)):  # class by class, for the memory of one class
                own = (labels == c).float()
                # Ignored pixels have no error; they come last, where they change nothing.
                errors, order = ((own - p[c]).abs() * valid).sort(descending=True)
                present = own.sum()
                counts = present > 0
                total = total + (errors * lovasz_gradient(own[order], present)).sum() * counts
                classes = classes + counts
        return Term(total / classes.clamp_min(1), classes.clamp(max=1))


def lovasz_gradient(own: Tensor, present: Tensor) -> Tensor:
    """What each error adds to 1 - IoU, from the largest to the smallest.

    Args:
        own: float32 (P,), 1 where the pixel is of the class, in the order of the errors.
        present: its sum.
    """
    missed = own.double().cumsum(0)
    false = (1 - own.double()).cumsum(0)
    loss = 1 - (present - missed) / (present + false)
    return torch.cat([loss[:1], loss[1:] - loss[:-1]]).to(own.dtype)
