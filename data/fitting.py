"""How photos are brought to the size of the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

Fit = Literal["stretch", "pad"]
"""`pad` keeps the aspect ratio: photos are padded at the bottom or at the right first."""
MEAN_COLOR = (124, 116, 104)


def padded_size(size: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (H, W) that holds a photo of `size` and has the aspect ratio of `image_size`."""
    (height, width), (rows, columns) = size, image_size
    return max(height, round(width * rows / columns)), max(width, round(height * columns / rows))


def pad(pixels: np.ndarray, image_size: tuple[int, int], fill: Sequence[int] = MEAN_COLOR) -> np.ndarray:
    """Pad an image (H, W, 3) or a mask (H, W) to `padded_size`."""
    size = pixels.shape[0], pixels.shape[1]
    height, width = padded_size(size, image_size)
    if (height, width) == size:
        return pixels
    bottom, right = height - size[0], width - size[1]
    return cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=list(fill))
