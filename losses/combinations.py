"""The losses that a config can name: functions from options to a `WeightedSum`.

`class_weights` is one number per class for the cross-entropy, or None. In a config it can also be the name of a formula
in `losses.class_weights`; `runs/building.py` replaces it by the numbers for the training split. `auxiliary_weight` is
the weight of each of a network's auxiliary logits, if it has any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from losses.boundary import BoundaryCrossEntropy
from losses.cross_entropy import CrossEntropy, SmoothedCrossEntropy
from losses.focal import Focal
from losses.lovasz import Lovasz
from losses.ohem import OHEM
from losses.overlap import SoftDice, SoftIoU, Tversky
from losses.pixel_term import PixelTerm
from losses.rmi import RegionMutualInformation
from losses.weighted_sum import WeightedSum


def ce_iou(
    weights: dict[str, float],
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    label_smoothing: float = 0.0,
    classes: Literal["present", "all"] = "present",
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy + soft-IoU."""
    terms = {"cross_entropy": _cross_entropy(class_weights, label_smoothing), "soft_iou": SoftIoU(classes)}
    return WeightedSum(terms, weights, auxiliary_weight)


def ce_dice(
    weights: dict[str, float],
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    label_smoothing: float = 0.0,
    classes: Literal["present", "all"] = "present",
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy + soft-Dice."""
    terms = {"cross_entropy": _cross_entropy(class_weights, label_smoothing), "soft_dice": SoftDice(classes)}
    return WeightedSum(terms, weights, auxiliary_weight)


def cross_entropy(
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    label_smoothing: float = 0.0,
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy only."""
    terms = {"cross_entropy": _cross_entropy(class_weights, label_smoothing)}
    return WeightedSum(terms, {"cross_entropy": 1.0}, auxiliary_weight)


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


def tversky(
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    gamma: float = 1.0,
    classes: Literal["present", "all"] = "present",
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Tversky or, with gamma above 1, focal Tversky loss only."""
    terms = {"tversky": Tversky(false_positives, false_negatives, gamma, classes)}
    return WeightedSum(terms, {"tversky": 1.0}, auxiliary_weight)


def boundary(
    width: int = 3,
    boundary_weight: float = 5.0,
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy with a higher weight near the boundaries of classes."""
    terms = {"boundary": BoundaryCrossEntropy(width, boundary_weight, class_weights)}
    return WeightedSum(terms, {"boundary": 1.0}, auxiliary_weight)


def rmi(
    weights: dict[str, float],
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None = None,
    label_smoothing: float = 0.0,
    radius: int = 3,
    pooling: int = 4,
    auxiliary_weight: float = 0.4,
) -> WeightedSum:
    """Cross-entropy + region mutual information."""
    terms = {
        "cross_entropy": _cross_entropy(class_weights, label_smoothing),
        "rmi": RegionMutualInformation(radius, pooling),
    }
    return WeightedSum(terms, weights, auxiliary_weight)


def _cross_entropy(
    class_weights: Sequence[float] | Literal["enet", "median_frequency"] | None, label_smoothing: float
) -> PixelTerm:
    """Cross-entropy; without smoothing, the kind that shares its sums with other terms."""
    if label_smoothing == 0:
        return CrossEntropy(class_weights)
    return SmoothedCrossEntropy(label_smoothing, class_weights)
