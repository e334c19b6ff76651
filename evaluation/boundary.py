"""Boundary IoU (Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
arXiv 2103.16562, section 5)."""

from __future__ import annotations

import cv2
import numpy as np

RATIO = 0.02
"""Distance to an outline that counts as close, as a share of the image diagonal; the paper's value."""
OUTSIDE = 254


def boundary_counts(prediction: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of a sample that are close to the outline of their class.

    Args:
        prediction, truth: masks uint8 (H, W), with 255 for ignored pixels of the truth.

    Returns:
        int64 (3, C): close in truth and prediction, close in the truth, close in the prediction.
    """
    valid = truth != 255
    near_truth = near_outlines(truth) & valid
    near_predicted = near_outlines(np.where(valid, prediction, 255)) & valid
    both = near_truth & near_predicted & (truth == prediction)
    counted = (truth[both], truth[near_truth], prediction[near_predicted])
    return np.stack([np.bincount(ids, minlength=classes)[:classes] for ids in counted])


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU of each class, float64 (C,), from the `boundary_counts` of one sample or a sum over samples.

    It is NaN for a class that is neither present nor predicted.
    """
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
