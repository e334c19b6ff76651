"""How photos are brought to the size of the network's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from data.images import resize_image

Fit = Literal["stretch", "pad"]
"""`pad` keeps the aspect ratio: photos are padded at the bottom or at the right first."""
MEAN_COLOR = (124, 116, 104)
LARGEST = 2**26
"""Pixels of a padded photo. Of a larger one, the longer side is resized before the other is padded."""


def padded_size(size: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (H, W) that holds a photo of `size` and has the aspect ratio of `image_size`."""
    (height, width), (rows, columns) = size, image_size
    return max(height, round(width * rows / columns)), max(width, round(height * columns / rows))


def shrunk_size(size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (H, W) of the same aspect ratio that is larger neither than `size` nor than the limits."""
    (height, width), (rows, columns) = size, limits
    scale = min(rows / height, columns / width, 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def padded_and_resized(
    pixels: np.ndarray,
    image_size: tuple[int, int],
    resize: Callable[[np.ndarray, tuple[int, int]], np.ndarray] = resize_image,
    fill: Sequence[int] = MEAN_COLOR,
) -> np.ndarray:
    """Pad an image (H, W, C) or a mask (H, W) to `padded_size`, and resize it to `image_size`.

    Args:
        resize: `resize_image` or `data.masks.resize_mask`.
        fill: as for `bordered`.
    """
    height, width = pixels.shape[:2]
    rows, columns = padded_size((height, width), image_size)
    if rows * columns <= LARGEST:
        return resize(bordered(pixels, (0, 0), (rows, columns), fill), image_size)
    if rows > height:
        shrunk, whole = resize(pixels, (height, image_size[1])), (rows, image_size[1])
    else:
        shrunk, whole = resize(pixels, (image_size[0], width)), (image_size[0], columns)
    return resize(bordered(shrunk, (0, 0), whole, fill), image_size)


def bordered(pixels: np.ndarray, place: tuple[int, int], size: tuple[int, int], fill: Sequence[int]) -> np.ndarray:
    """Put an image (H, W, C) or a mask (H, W) into a larger one that is filled with a colour.

    Images of other than three channels get 0, the lower end of `data.value_range`, instead of a colour.

    Args:
        place: row and column of the upper left corner.
        size: (H, W) of the larger one; nothing is copied if the image already has it.
        fill: red, green and blue, or the id of a mask.
    """
    if pixels.shape[:2] == size:
        return pixels
    larger = np.empty((*size, *pixels.shape[2:]), pixels.dtype)
    larger[:] = 0 if pixels.ndim == 3 and pixels.shape[2] != 3 else fill
    larger[place[0] : place[0] + pixels.shape[0], place[1] : place[1] + pixels.shape[1]] = pixels
    return larger


def fit_of(config: dict[str, Any]) -> Fit:
    """Return how the photos of a run were brought to the size of the input; its config may come from anywhere."""
    data = config.get("data")
    return "pad" if isinstance(data, dict) and data.get("fit") == "pad" else "stretch"
