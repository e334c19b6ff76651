"""What a loss term returns, so that accumulated micro-batches and many processes add up exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from data.labels import IGNORE_INDEX
from losses.class_sums import ClassSums, class_sums


class Term(NamedTuple):
    """A term of the loss as a fraction: its value is `total / denominator`.

    Pixel-averaged terms return their sum over pixels and the weight of those pixels, so that several
    micro-batches divide once, by their common denominator. Ratio terms (soft-IoU, soft-Dice, Lovasz) and OHEM do
    not add up over pixels. They return their value over 1, or 0 over 0 without a labelled pixel: several
    micro-batches then give the mean over those that hold one.

    Attributes:
        total: float32 scalar with gradient.
        denominator: float32 scalar without gradient; 0 where there was nothing to average.
    """

    total: Tensor
    denominator: Tensor


class LossTerm(nn.Module, ABC):
    """Base of the terms: `forward(logits, target) -> Term`.

    Logits are (N, C, H, W) of any floating dtype, computed with in float32 whatever autocast says.
    Targets are int64 (N, H, W); pixels of 255 count for nothing, in value or gradient.
    """

    def denominator(self, target: Tensor) -> Tensor:
        """The denominator that `forward` returns for this target, without needing the logits: 1, or 0 without a
        labelled pixel."""
        return (target != IGNORE_INDEX).any().float()

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Term: ...


class SumsTerm(LossTerm):
    """A term that needs no more of the pixels than their sums per class; several such terms share them."""

    @abstractmethod
    def from_sums(self, sums: ClassSums) -> Term:
        """The term from the sums of a batch."""

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        return self.from_sums(class_sums(logits, target))
