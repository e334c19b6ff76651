"""What an evaluation finds out beyond its one confusion matrix: sample by sample, near outlines, and of confidences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.boundary import BoundaryIoU, boundary_iou
from engine.calibration import Calibration
from engine.metrics import add_to_confusion, scores


class SampleScores(NamedTuple):
    """How well one sample went; NaN where all of it is ignored.

    Attributes:
        number: its place in the split.
        miou: mean IoU of the classes that are there or predicted.
        pixel_accuracy: share of the pixels that are right.
        boundary_iou: mean boundary IoU of those classes.
        confidence: the mean of what the network gives its choice.
    """

    number: int
    miou: float
    pixel_accuracy: float
    boundary_iou: float
    confidence: float


class Details:
    """Collects them; memory grows with the number of samples by a few numbers each."""

    def __init__(self, classes: int) -> None:
        self.calibration, self.boundaries = Calibration(), BoundaryIoU(classes)
        self.samples: list[SampleScores] = []

    def add(self, index: int, prediction: Tensor, truth: Tensor, logits: Tensor) -> None:
        """Adds a sample.

        Args:
            prediction: integers (H, W).
            truth: uint8 (H, W), 255 where it is ignored.
            logits: float (C, H, W).
        """
        classes = self.boundaries.counts.shape[1]
        before = self.calibration.counts.clone()
        self.calibration.add(logits, truth)
        pixels, _, confidence = (self.calibration.counts - before).sum(1).tolist()
        confusion = torch.zeros(classes, classes, dtype=torch.int64, device=prediction.device)
        add_to_confusion(confusion, prediction, truth)
        found = scores(confusion)
        near = boundary_iou(self.boundaries.add(prediction.byte().cpu().numpy(), truth.cpu().numpy()))
        mean = float(np.nanmean(near)) if not np.isnan(near).all() else float("nan")
        share = confidence / pixels if pixels else float("nan")
        self.samples.append(SampleScores(index, found.miou, found.pixel_accuracy, mean, share))

    def worst_first(self) -> list[SampleScores]:
        """The samples by mean IoU; those without a truth last."""
        return sorted(self.samples, key=lambda sample: (np.isnan(sample.miou), sample.miou))
