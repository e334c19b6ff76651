"""Soft-IoU and soft-Dice: one minus the overlap of predicted probabilities and ground truth, per class.

Let p be the softmax of the logits. With sums over the valid pixels of the whole batch,

    I_c = sum p_c [target = c],   P_c = sum p_c,   T_c = sum [target = c],
    IoU_c = I_c / (P_c + T_c - I_c),   Dice_c = 2 I_c / (P_c + T_c).

Sources: Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
Segmentation" (soft-IoU); Milletari et al. 2016, "V-Net", arXiv 1606.04797 (soft-Dice).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from losses.class_sums import ClassSums
from losses.term import SumsTerm, Term


class _Overlap(SumsTerm):
    """Base class of soft-IoU and soft-Dice: 1 - mean of a score over classes.

    Args:
        classes: `present` averages over the classes in the target, `all` over all classes.
    """

    def __init__(self, classes: Literal["present", "all"] = "present") -> None:
        super().__init__()
        if classes not in ("present", "all"):
            raise ValueError(f"classes must be 'present' or 'all', not {classes!r}")
        self.classes = classes

    @abstractmethod
    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        """Compute the overlap of each class, (C,), from the sums I, P and T. Must be finite if all are 0."""

    def from_sums(self, sums: ClassSums) -> Term:
        loss = 1 - self.score(sums.intersection, sums.predicted, sums.present)
        counted = (sums.present > 0).float()
        labelled = counted.amax()  # 0 if every pixel is ignored
        if self.classes == "all":
            counted = labelled.expand_as(counted)
        return Term((loss * counted).sum() / counted.sum().clamp_min(1), labelled)


class SoftIoU(_Overlap):
    """1 - mean over classes of I / (P + T - I)."""

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        return intersection / (predicted + present - intersection).clamp_min(1e-6)


class SoftDice(_Overlap):
    """1 - mean over classes of 2 I / (P + T)."""

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        return 2 * intersection / (predicted + present).clamp_min(1e-6)
