"""Class weights from how often the classes occur."""

from __future__ import annotations

import numpy as np


def enet(pixels: np.ndarray) -> list[float]:
    """1 / ln(1.02 + p), p being the class's share of the pixels (Paszke et al. 2016, "ENet", section 5.2).

    Args:
        pixels: (images, C) pixels of each class in each image.
    """
    shares = pixels.sum(0) / pixels.sum()
    return (1 / np.log(1.02 + shares)).tolist()


def median_frequency(pixels: np.ndarray) -> list[float]:
    """Median of the frequencies / frequency, the frequency of a class being its share of the pixels of the images
    that hold it (Eigen and Fergus 2015, arXiv 1411.4734, section 6.3.2). A class that occurs nowhere weighs 1.

    Args:
        pixels: (images, C) pixels of each class in each image.
    """
    where = (pixels > 0) * pixels.sum(1, keepdims=True)
    frequencies = pixels.sum(0) / np.maximum(where.sum(0), 1)
    median = np.median(frequencies[frequencies > 0])
    return np.divide(median, frequencies, out=np.ones_like(frequencies), where=frequencies > 0).tolist()
