"""Segmentation metrics, all derived from one confusion matrix per split.

Counts are int64 and are only added, so the result does not depend on batch size, order, device or number of
processes. A mean of per-batch scores would depend on all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def add_to_confusion(confusion: Tensor, prediction: Tensor, target: Tensor) -> None:
    """Add pixels to a confusion matrix in place, without waiting for a device.

    Args:
        confusion: int64 (C, C) or (C + 1, C); row = truth, column = prediction. The last row of the latter counts
            the predictions of ignored pixels.
        prediction: integer tensor of any shape, values 0..C-1.
        target: integer tensor of that shape, values 0..C-1, and 255 for ignored pixels.
    """
    classes = confusion.shape[1]
    # An extra row counts the ignored pixels, which is cheaper than selecting the others.
    cells = target.flatten().clamp(max=classes).to(torch.int64).mul_(classes).add_(prediction.flatten())
    size = (classes + 1) * classes
    if cells.is_cuda:  # bincount would wait for the device
        counts = torch.zeros(size, dtype=torch.int64, device=cells.device)
        counts.scatter_add_(0, cells, torch.ones_like(cells))
    else:
        counts = torch.bincount(cells, minlength=size)
    confusion += counts.view(classes + 1, classes)[: len(confusion)]


class Scores(NamedTuple):
    """Metrics of a split. Means leave out classes that are neither present nor predicted.

    Attributes:
        iou: float64 (C,), true positives / (present + predicted - true positives); NaN where undefined.
        dice: float64 (C,), 2 true positives / (present + predicted).
        accuracy: float64 (C,), true positives / present.
        miou: mean of `iou`.
        mean_dice: mean of `dice` (macro).
        pixel_accuracy: share of correct pixels (equal to the micro-averaged Dice).
        mean_accuracy: mean of `accuracy` over the classes present.
        frequency_weighted_iou: `iou` weighted by the share of each class in the pixels.
    """

    iou: Tensor
    dice: Tensor
    accuracy: Tensor
    miou: float
    mean_dice: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float


def scores(confusion: Tensor) -> Scores:
    """Return all metrics of an int64 (C, C) confusion matrix (row = truth); NaN where nothing was counted."""
    counts = confusion.cpu().double()
    true_positive = counts.diagonal()
    present, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
    iou = true_positive / (present + predicted - true_positive)  # 0 / 0 = NaN: undefined
    dice = 2 * true_positive / (present + predicted)
    accuracy = true_positive / present
    return Scores(
        iou=iou,
        dice=dice,
        accuracy=accuracy,
        miou=iou.nanmean().item(),
        mean_dice=dice.nanmean().item(),
        pixel_accuracy=(true_positive.sum() / total).item(),
        mean_accuracy=accuracy.nanmean().item(),
        frequency_weighted_iou=((iou * present).nansum() / total).item(),
    )
