"""Results beyond the confusion matrix: scores per sample, boundary IoU, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.metrics import add_to_confusion, scores
from evaluation.boundary import boundary_counts, boundary_iou
from evaluation.calibration import BINS, calibration_counts


class SampleScores(NamedTuple):
    """Scores of one sample; NaN if all its pixels are ignored.

    Attributes:
        number: index of the sample in the split.
        miou: mean IoU of the classes that are present or predicted.
        pixel_accuracy: share of correct pixels.
        boundary_iou: mean boundary IoU of those classes.
        confidence: mean probability of the predicted class.
    """

    number: int
    miou: float
    pixel_accuracy: float
    boundary_iou: float
    confidence: float


class Details:
    """Collect scores per sample, boundary IoU and calibration. Memory grows by a few numbers per sample and class.

    Attributes:
        calibration: `calibration_counts` of all samples, float64 (3, BINS).
        boundary: `boundary_counts` of all samples, int64 (3, C).
        intersections, unions: pixels of each sample and class; int64 (C,) each. Their sums over samples give the
            IoU of the split.
    """

    def __init__(self, classes: int) -> None:
        self.calibration = torch.zeros(3, BINS, dtype=torch.float64)
        self.boundary = np.zeros((3, classes), np.int64)
        self.samples: list[SampleScores] = []
        self.intersections: list[np.ndarray] = []
        self.unions: list[np.ndarray] = []

    def add(self, index: int, prediction: Tensor, truth: Tensor, logits: Tensor) -> None:
        """Add a sample.

        Args:
            prediction: integers (H, W).
            truth: uint8 (H, W), 255 for ignored pixels.
            logits: float (C, H, W).
        """
        classes = self.boundary.shape[1]
        calibration = calibration_counts(logits, truth)
        self.calibration += calibration
        pixels, _, confidence = calibration.sum(1).tolist()
        boundary = boundary_counts(prediction.byte().cpu().numpy(), truth.cpu().numpy(), classes)
        self.boundary += boundary
        confusion = torch.zeros(classes, classes, dtype=torch.int64, device=prediction.device)
        add_to_confusion(confusion, prediction, truth)
        found = scores(confusion)
        counts = confusion.cpu().numpy()
        self.intersections.append(counts.diagonal().copy())
        self.unions.append(counts.sum(0) + counts.sum(1) - counts.diagonal())
        near = boundary_iou(boundary)
        mean = float(np.nanmean(near)) if not np.isnan(near).all() else float("nan")
        share = confidence / pixels if pixels else float("nan")
        self.samples.append(SampleScores(index, found.miou, found.pixel_accuracy, mean, share))

    def worst_first(self) -> list[SampleScores]:
        """Return the samples by mean IoU, lowest first; those without labelled pixels last."""
        return sorted(self.samples, key=lambda sample: (np.isnan(sample.miou), sample.miou))
