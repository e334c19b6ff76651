"""Boundary IoU (Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
arXiv 2103.16562, section 5)."""

from __future__ import annotations

import cv2
import numpy as np

RATIO = 0.02
"""Distance to an outline that counts as close, as a share of the image diagonal; the paper's value."""
OUTSIDE = 254


class BoundaryIoU:
    """Count the pixels close to the outline of their class, over a split.

    Attributes:
        counts: int64 (3, C): close in truth and prediction, close in the truth, close in the prediction.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((3, classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Add a sample, masks uint8 (H, W) with 255 for ignored pixels of the truth; return its counts int64 (3, C)."""
        classes = self.counts.shape[1]
        valid = truth != 255
        near_truth = near_outlines(truth) & valid
        near_predicted = near_outlines(np.where(valid, prediction, 255)) & valid
        both = near_truth & near_predicted & (truth == prediction)
        counts = np.stack(
            [
                np.bincount(truth[both], minlength=classes)[:classes],
                np.bincount(truth[near_truth], minlength=classes)[:classes],
                np.bincount(prediction[near_predicted], minlength=classes)[:classes],
            ]
        )
        self.counts += counts
        return counts

    def iou(self) -> np.ndarray:
        """Return the IoU of each class, float64 (C,); NaN if it is neither present nor predicted."""
        return boundary_iou(self.counts)


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU of each class, float64 (C,), from the counts of a `BoundaryIoU`."""
    union = counts[1] + counts[2] - counts[0]
    with np.errstate(invalid="ignore"):
        return counts[0] / union


def near_outlines(mask: np.ndarray) -> np.ndarray:
    """Return the pixels bool (H, W) of a mask uint8 (H, W) that are close to another class.

    The border of the image counts as an outline, as in the paper's code. The square around a pixel holds only one class
    if its minimum and maximum are equal.
    """
    distance = max(round(RATIO * float(np.hypot(*mask.shape))), 1)
    framed = cv2.copyMakeBorder(mask, *(distance,) * 4, cv2.BORDER_CONSTANT, value=OUTSIDE)
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    differs = cv2.erode(framed, square) != cv2.dilate(framed, square)
    return differs[distance:-distance, distance:-distance]
