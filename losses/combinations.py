"""The losses that a config can name: functions from options to a `WeightedSum`.

`class_weights` is one number per class for the cross-entropy, or None. In a config it can also be the name of a formula
in `losses.class_weights`; `cli/building.py` replaces it by the numbers for the training split. `auxiliary_weight` is
the weight of each of a network's auxiliary logits, if it has any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from losses.cross_entropy import CrossEntropy
from losses.focal import Focal
from losses.lovasz import Lovasz
from losses.ohem import OHEM
from losses.overlap import SoftDice, SoftIoU
from losses.weighted_sum import WeightedSum


def ce_iou(
    weights: dict[str, float],
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    classes: Literal["present", "all"] = "present",
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy + soft-IoU."""
    return WeightedSum(
        {"cross_entropy": CrossEntropy(class_weights), "soft_iou": SoftIoU(classes)}, weights, auxiliary_weight
    )


def ce_dice(
    weights: dict[str, float],
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    classes: Literal["present", "all"] = "present",
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy + soft-Dice."""
    return WeightedSum(
        {"cross_entropy": CrossEntropy(class_weights), "soft_dice": SoftDice(classes)}, weights, auxiliary_weight
    )


def cross_entropy(
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None, auxiliary_weight: float = 0.4
) -> WeightedSum:
    """Cross-entropy only."""
    return WeightedSum({"cross_entropy": CrossEntropy(class_weights)}, {"cross_entropy": 1.0}, auxiliary_weight)


def soft_iou(classes: Literal["present", "all"] = "present", auxiliary_weight: float = 0.4) -> WeightedSum:
    """Soft-IoU only."""
    return WeightedSum({"soft_iou": SoftIoU(classes)}, {"soft_iou": 1.0}, auxiliary_weight)


def soft_dice(classes: Literal["present", "all"] = "present", auxiliary_weight: float = 0.4) -> WeightedSum:
    """Soft-Dice only."""
    return WeightedSum({"soft_dice": SoftDice(classes)}, {"soft_dice": 1.0}, auxiliary_weight)


def focal(
    gamma: float = 2.0,
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Focal loss only."""
    return WeightedSum({"focal": Focal(gamma, class_weights)}, {"focal": 1.0}, auxiliary_weight)


def ohem(
    threshold: float = 0.7,
    min_kept: float = 1 / 16,
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy of the hard pixels only."""
    return WeightedSum({"ohem": OHEM(threshold, min_kept, class_weights)}, {"ohem": 1.0}, auxiliary_weight)


def lovasz(auxiliary_weight: float = 0.4) -> WeightedSum:
    """Lovasz-softmax only."""
    return WeightedSum({"lovasz": Lovasz()}, {"lovasz": 1.0}, auxiliary_weight)
