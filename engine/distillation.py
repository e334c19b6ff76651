"""Distillation: a trained network, the teacher, as a second target of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.normalization import normalization_of
from losses.distillation import DistillationTerm
from losses.term import Term

DISTILLATION_COLUMN = "distillation"
"""Name of the term in metrics.csv."""


class Distillation:
    """A frozen teacher and the term that compares a network with it.

    Args:
        teacher: on the device, in the memory layout of training. It is put into eval mode and frozen.
        term: compares the logits of both.
        weight: weight of the term, relative to the loss.
    """

    def __init__(self, teacher: nn.Module, term: DistillationTerm, weight: float) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.term = term
        self.weight = weight
        self.normalization = normalization_of(teacher)

    def __call__(self, images: Tensor, logits: Tensor, channels_last: bool) -> Term:
        """Compute the term for uint8 images (N, 3, H, W) and the network's logits (N, C, H, W).

        The teacher runs without gradient, under the autocast in which this is called.
        """
        with torch.no_grad():
            teacher = self.teacher(self.normalization(images, channels_last))
        return self.term(logits, teacher)
