"""Soft-IoU, soft-Dice and Tversky loss: one minus the overlap of predicted probabilities and ground truth, per class.

Let p be the softmax of the logits. With sums over the valid pixels of the whole batch,

    I_c = sum p_c [target = c],   P_c = sum p_c,   T_c = sum [target = c],
    IoU_c = I_c / (P_c + T_c - I_c),   Dice_c = 2 I_c / (P_c + T_c),
    Tversky_c = I_c / (I_c + a (P_c - I_c) + b (T_c - I_c)).

Sources: Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
Segmentation" (soft-IoU); Milletari et al. 2016, "V-Net", arXiv 1606.04797 (soft-Dice); Salehi et al. 2017, arXiv
1706.05721 (Tversky); Abraham and Khan 2018, arXiv 1810.07842 (focal Tversky).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from losses.class_sums import ClassSums
from losses.term import SumsTerm, Term


class _Overlap(SumsTerm):
    """Base class: mean over classes of (1 - score) to the power `exponent`.

    Args:
        classes: `present` averages over the classes in the target, `all` over all classes.
    """

    exponent = 1.0

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
        if self.exponent != 1:
            loss = loss.clamp_min(1e-6) ** self.exponent  # a root has no gradient at 0
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


class Tversky(_Overlap):
    """Mean over classes of (1 - I / (I + a (P - I) + b (T - I)))^(1 / gamma).

    Args:
        false_positives: a, the weight of pixels wrongly given to a class. With b, 0.5 and 0.5 give soft-Dice, 1 and 1
            soft-IoU.
        false_negatives: b, the weight of pixels that a class misses. Salehi et al. found 0.7 best for a rare class.
        gamma: 1 for the Tversky loss; above 1, classes with low overlap count less than they would, and those near a
            full overlap more (focal Tversky; 4/3 in the paper).
        classes: `present` averages over the classes in the target, `all` over all classes.

    Raises:
        ValueError: a weight is negative or above 1,000, both are 0, or gamma is not from 0.1 to 10.
    """

    def __init__(
        self,
        false_positives: float = 0.3,
        false_negatives: float = 0.7,
        gamma: float = 1.0,
        classes: Literal["present", "all"] = "present",
    ) -> None:
        super().__init__(classes)
        weights = f"false_positives={false_positives}, false_negatives={false_negatives}"
        if not (0 <= false_positives <= 1000 and 0 <= false_negatives <= 1000):
            raise ValueError(f"{weights}: both must be from 0 to 1000")
        if false_positives == false_negatives == 0:
            raise ValueError(f"{weights}: both are 0, so there is nothing to train for")
        if not 0.1 <= gamma <= 10:
            raise ValueError(f"gamma={gamma}: must be from 0.1 to 10")
        self.false_positives, self.false_negatives, self.exponent = false_positives, false_negatives, 1 / gamma

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        wrong = self.false_positives * (predicted - intersection) + self.false_negatives * (present - intersection)
        return intersection / (intersection + wrong).clamp_min(1e-6)
