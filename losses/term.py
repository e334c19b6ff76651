"""Loss terms as fractions, so that accumulated micro-batches and several processes add up exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from data.labels import IGNORE_INDEX
from losses.class_sums import ClassSums, class_sums


class Term(NamedTuple):
    """The value of a loss term, `total / denominator`.

    Pixel-averaged terms return the sum over pixels and the weight of those pixels, so that several micro-batches divide
    once, by their common denominator. Ratio terms (soft-IoU, soft-Dice, Lovasz) and OHEM do not add up over pixels.
    They return their value over 1, or 0 over 0 without a labelled pixel, so that several micro-batches give the mean
    over those with a labelled pixel.

    Attributes:
        total: float32 scalar with gradient.
        denominator: float32 scalar without gradient; 0 if there was nothing to average.
    """

    total: Tensor
    denominator: Tensor


class LossTerm(nn.Module, ABC):
    """Base class of loss terms: `forward(logits, target) -> Term`.

    Logits are (N, C, H, W) of any float dtype; terms compute in float32, also under autocast. Targets are int64
    (N, H, W); pixels of 255 contribute nothing to value or gradient.
    """

    def denominator(self, target: Tensor) -> Tensor:
        """Compute the denominator that `forward` returns for this target: 1, or 0 without a labelled pixel."""
        return (target != IGNORE_INDEX).any().float()

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Term: ...


class SumsTerm(LossTerm):
    """A term that can be computed from sums per class; several such terms share the sums."""

    @abstractmethod
    def from_sums(self, sums: ClassSums) -> Term:
        """Compute the term from the sums of a batch."""

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        return self.from_sums(class_sums(logits, target))
