"""Which samples an epoch shows."""

from __future__ import annotations

import numpy as np

from data.cache import CachedSamples
from data.resized import ResizedSamples
from data.samples import SegmentationDataset, View
from data.statistics import class_counts


class RareClasses:
    """Rare-class sampling: Hoyer et al. 2022, "DAFormer", arXiv 2111.14887, section 3.3.

    A class is drawn with the probability P(c) = softmax((1 - f(c)) / T), where f(c) is its share of all labelled
    pixels, and then one of the samples that show it. Classes that occur nowhere, and samples without a labelled pixel,
    are never drawn.

    Args:
        pixels: int64 (N, C), pixels of each class in each sample.
        temperature: T; the smaller it is, the more often the rarest classes are drawn.

    Attributes:
        classes: float64 (C,), the probability of each class.
        probabilities: float64 (N,), the resulting probability of each sample.
    """

    def __init__(self, pixels: np.ndarray, temperature: float = 0.01) -> None:
        showing = pixels > 0
        occurs = showing.any(0)
        frequency = pixels.sum(0) / max(pixels.sum(), 1)
        weights = np.where(occurs, np.exp((frequency[occurs].min() - frequency) / temperature), 0)
        self.classes = weights / weights.sum()
        self.probabilities = showing[:, occurs] / showing[:, occurs].sum(0) @ self.classes[occurs]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw as many samples as there are, int64 (N,), some of them several times."""
        return rng.choice(len(self.probabilities), len(self.probabilities), p=self.probabilities)


def rare_classes(samples: SegmentationDataset, temperature: float) -> RareClasses:
    """Count the classes in the masks at their own sizes, once for all runs, and return the sampler."""
    source, length = samples, len(samples)
    while isinstance(source, ResizedSamples | CachedSamples):
        source = source.dataset
    return RareClasses(class_counts(View(source, range(length))), temperature)
