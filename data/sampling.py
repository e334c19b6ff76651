"""Rare-class sampling: which samples an epoch shows."""

from __future__ import annotations

import numpy as np

from data.cache import CachedSamples
from data.resized import ResizedSamples
from data.samples import SegmentationDataset, View
from data.statistics import class_counts


def rare_class_probabilities(pixels: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probability of each sample under rare-class sampling, float64 (N,).

    Hoyer et al. 2022, "DAFormer", arXiv 2111.14887, section 3.3: a class is drawn with the probability
    P(c) = softmax((1 - f(c)) / T), where f(c) is its share of all labelled pixels, and then one of the samples that
    show it. Classes that occur nowhere, and samples without a labelled pixel, are never drawn.

    Args:
        pixels: int64 (N, C), pixels of each class in each sample.
        temperature: T; the smaller it is, the more often the rarest classes are drawn.
    """
    pixels = pixels[:, pixels.any(0)]
    showing, frequency = pixels > 0, pixels.sum(0) / max(pixels.sum(), 1)
    weights = np.exp((frequency.min() - frequency) / temperature)
    return showing / showing.sum(0) @ (weights / weights.sum())


def rare_classes(samples: SegmentationDataset, temperature: float) -> np.ndarray:
    """Count the classes in the masks at their own sizes, once for all runs, and return the samples' probabilities."""
    source, length = samples, len(samples)
    while isinstance(source, ResizedSamples | CachedSamples):
        source = source.dataset
    return rare_class_probabilities(class_counts(View(source, range(length))), temperature)
