"""Measure, from the pixels only, how far the edges of an image lie from those of its mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIGMA = 2.0  # of the blur that makes edges smooth enough for a gradient
LIGHT, DARK = 170, 85


def scene(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Blobs with edges in all directions: an image uint8 (H, W, 3) that is light where its mask uint8 (H, W) is 1."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    mask = (ndimage.gaussian_filter(noise, 6, mode="wrap") > 0).astype(np.uint8)
    image = np.where(mask, LIGHT, DARK).astype(np.uint8)
    return np.repeat(image[..., None], 3, 2), mask


def drift(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return by how many pixels (y, x) the image lies below and right of its mask.

    An image that is the mask moved by d is, to first order, a + b * (mask - d * gradient of mask): least squares finds
    a, b and d, whatever brightness and contrast are.

    Args:
        image: uint8 (H, W, 3), of a `scene`.
        mask: uint8 (H, W); pixels with 255 are ignored.
    """
    valid = mask != 255
    known = ndimage.binary_erosion(valid, iterations=12, border_value=0)  # where the blur sees valid pixels only
    smooth_image = ndimage.gaussian_filter(np.where(valid, image.mean(2), (LIGHT + DARK) / 2), SIGMA)
    smooth_mask = ndimage.gaussian_filter(np.where(valid, mask, 0.5), SIGMA)
    down, right = np.gradient(smooth_mask)
    columns = np.stack([values[known] for values in (np.ones(mask.shape), smooth_mask, down, right)], 1)
    _, contrast, *moved = np.linalg.lstsq(columns, smooth_image[known], rcond=None)[0]
    return -np.array(moved) / contrast
