"""IoU close to the outlines: Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
arXiv 2103.16562, section 5."""

from __future__ import annotations

import cv2
import numpy as np

RATIO = 0.02
"""Share of the picture's diagonal that counts as close to an outline; the paper's choice."""
OUTSIDE = 254


class BoundaryIoU:
    """Counts, over a split, the pixels that lie inside their class's region and close to its outline.

    Attributes:
        counts: int64 (3, C): pixels that are so in the truth and in the prediction, in the truth, in the prediction.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((3, classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Adds a sample, uint8 (H, W) each, 255 where the truth is ignored; returns the counts of it alone."""
        classes = self.counts.shape[1]
        valid = truth != 255
        near_truth, near_said = near_outlines(truth) & valid, near_outlines(np.where(valid, prediction, 255)) & valid
        both = near_truth & near_said & (truth == prediction)
        counts = np.stack(
            [
                np.bincount(truth[both], minlength=classes)[:classes],
                np.bincount(truth[near_truth], minlength=classes)[:classes],
                np.bincount(prediction[near_said], minlength=classes)[:classes],
            ]
        )
        self.counts += counts
        return counts

    def iou(self) -> np.ndarray:
        """Of each class, float64 (C,); NaN where it is neither there nor predicted."""
        return boundary_iou(self.counts)


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """The IoU of each class, float64 (C,), of counts as `BoundaryIoU` has them."""
    union = counts[1] + counts[2] - counts[0]
    with np.errstate(invalid="ignore"):
        return counts[0] / union


def near_outlines(mask: np.ndarray) -> np.ndarray:
    """Where something else than a pixel's own class is close, bool (H, W), of a mask uint8 (H, W); the border of the
    picture counts as an outline, as in the paper's code.

    The square around a pixel holds one class alone exactly where the least and the largest value in it are equal.
    """
    distance = max(round(RATIO * float(np.hypot(*mask.shape))), 1)
    framed = cv2.copyMakeBorder(mask, *(distance,) * 4, cv2.BORDER_CONSTANT, value=OUTSIDE)
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    differs = cv2.erode(framed, square) != cv2.dilate(framed, square)
    return differs[distance:-distance, distance:-distance]
