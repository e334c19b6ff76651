"""Calibration: whether confidence equals accuracy (Guo et al. 2017, "On Calibration of Modern Neural Networks",
arXiv 1706.04599, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15


class Calibration:
    """Count pixels, correct pixels and confidence in bins of equal width.

    Attributes:
        counts: float64 (3, bins): pixels, correct pixels, and the sum of confidences.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.counts = torch.zeros(3, bins, dtype=torch.float64)

    def add(self, logits: Tensor, truth: Tensor) -> None:
        """Add a sample.

        Args:
            logits: float (C, H, W).
            truth: (H, W), class indices, and 255 for ignored pixels.
        """
        confidence, predicted = logits.softmax(0).max(0)
        valid = truth != 255
        confidence, right = confidence[valid].double().cpu(), (predicted == truth)[valid].double().cpu()
        bins = self.counts.shape[1]
        # A bin includes its upper edge, as in the paper.
        places = (confidence * bins).ceil().long().sub_(1).clamp_(0, bins - 1)
        for row, weights in enumerate((torch.ones_like(right), right, confidence)):
            self.counts[row] += torch.bincount(places, weights, minlength=bins)

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence| per bin, weighted by its pixels; NaN without
        pixels."""
        pixels, right, confidence = self.counts
        return ((right - confidence).abs().sum() / pixels.sum()).item()

    def accuracy(self) -> list[float]:
        """Return the share of correct pixels in each bin; NaN if it is empty."""
        return (self.counts[1] / self.counts[0]).tolist()

    def confidence(self) -> list[float]:
        """Return the mean confidence in each bin; NaN if it is empty."""
        return (self.counts[2] / self.counts[0]).tolist()
