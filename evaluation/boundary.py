"""IoU close to the outlines: Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
arXiv 2103.16562, section 5."""

from __future__ import annotations

import cv2
import numpy as np

RATIO = 0.02
"""Distance from an outline that counts as close, as a share of the diagonal; as in the paper."""
OUTSIDE = 254


class BoundaryIoU:
    """Counts over a split the pixels close to the outline of their class.

    Attributes:
        counts: int64 (3, C): close in truth and prediction, close in the truth, close in the prediction.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((3, classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Add a sample, uint8 (H, W) each, 255 for ignored pixels of the truth; returns its own counts."""
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
        """IoU of each class, float64 (C,); NaN if it is neither present nor predicted."""
        return boundary_iou(self.counts)


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """IoU of each class, float64 (C,), from the counts of a `BoundaryIoU`."""
    union = counts[1] + counts[2] - counts[0]
    with np.errstate(invalid="ignore"):
        return counts[0] / union


def near_outlines(mask: np.ndarray) -> np.ndarray:
    """Pixels bool (H, W) of a mask uint8 (H, W) that have another class close to them.

    The border of the picture counts as an outline, as in the code of the paper. The square around a pixel holds only
    one class if its smallest and largest values are equal.
    """
    distance = max(round(RATIO * float(np.hypot(*mask.shape))), 1)
    framed = cv2.copyMakeBorder(mask, *(distance,) * 4, cv2.BORDER_CONSTANT, value=OUTSIDE)
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    differs = cv2.erode(framed, square) != cv2.dilate(framed, square)
    return differs[distance:-distance, distance:-distance]
