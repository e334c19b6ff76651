"""Calibration: whether confidence equals accuracy (Guo et al. 2017, "On Calibration of Modern Neural Networks",
arXiv 1706.04599, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15
"""Number of bins of equal width that confidences are counted in."""


def calibration_counts(logits: Tensor, truth: Tensor) -> Tensor:
    """Count the pixels of a sample by the confidence of their prediction.

    Args:
        logits: float (C, H, W).
        truth: (H, W), class indices, and 255 for ignored pixels.

    Returns:
        float64 (3, BINS): pixels, correct pixels, and the sum of confidences.
    """
    confidence, predicted = logits.softmax(0).max(0)
    valid = truth != 255
    confidence, right = confidence[valid].double().cpu(), (predicted == truth)[valid].double().cpu()
    # A bin includes its upper edge, as in the paper.
    places = (confidence * BINS).ceil().long().sub_(1).clamp_(0, BINS - 1)
    counted = (torch.ones_like(right), right, confidence)
    return torch.stack([torch.bincount(places, weights, minlength=BINS) for weights in counted])


def calibration_error(counts: Tensor) -> float:
    """Return the expected calibration error of `calibration_counts` or their sum over samples.

    It is |accuracy - confidence| per bin, weighted by its pixels; NaN without pixels.
    """
    pixels, right, confidence = counts
    return ((right - confidence).abs().sum() / pixels.sum()).item()
