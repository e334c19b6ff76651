"""Class weights computed from pixel counts."""

from __future__ import annotations

import numpy as np


def enet(pixels: np.ndarray) -> list[float]:
    """Compute 1 / ln(1.02 + p), where p is the class's share of the pixels (Paszke et al. 2016, "ENet", section 5.2).

    Args:
        pixels: number of pixels of each class in each image, (images, C).
    """
    shares = pixels.sum(0) / pixels.sum()
    return (1 / np.log(1.02 + shares)).tolist()


def median_frequency(pixels: np.ndarray) -> list[float]:
    """Compute median frequency / frequency of each class (Eigen and Fergus 2015, arXiv 1411.4734, section 6.3.2).

    The frequency of a class is its share of the pixels of all images that contain it. A class that never occurs has
    weight 1.

    Args:
        pixels: number of pixels of each class in each image, (images, C).
    """
    where = (pixels > 0) * pixels.sum(1, keepdims=True)
    frequencies = pixels.sum(0) / np.maximum(where.sum(0), 1)
    median = np.median(frequencies[frequencies > 0])
    return np.divide(median, frequencies, out=np.ones_like(frequencies), where=frequencies > 0).tolist()
