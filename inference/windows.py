"""Predict photos of any size in overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from utils.value_types import SMALLEST_SIDE

STRIP = 4096
"""Width of a strip in pixels. Wider photos are processed in strips, so that memory does not grow with their width."""


def starts(length: int, window: int, stride: int) -> list[int]:
    """Return the offsets of windows that cover a side, one stride apart; the last window ends at the end."""
    if length <= window:
        return [0]
    return [*range(0, length - window, stride), length - window]


def tent(length: int) -> Tensor:
    """Return weights float32 (length,) that fall linearly from the middle of a window to its sides, but not to 0."""
    return 1 - torch.linspace(-1, 1, length + 2)[1:-1].abs()


def bands(
    image: np.ndarray,
    scores: Callable[[Tensor], Tensor],
    window: tuple[int, int],
    overlap: float,
    least: tuple[int, int] = (SMALLEST_SIDE, SMALLEST_SIDE),
    batch: int = 4,
    strip: int = STRIP,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the probabilities of a photo, part by part.

    Each pixel gets the mean over the windows that contain it, weighted by its distance to their sides. Memory is
    proportional to the height of a window times the width of a strip, for any size of photo.

    Args:
        image: (H, W, channels).
        scores: images (n, channels, h, w) -> logits (n, C, h, w), on any device.
        window: height and width; reduced to the photo, but not below `least`.
        least: smallest height and width that the network accepts; a smaller photo is padded with its border.
        overlap: share of a window that it has in common with the next, from 0 to below 1.
        batch: windows at a time.
        strip: largest width of a strip in pixels.

    Yields:
        Rows, columns and float32 (C, rows, columns). Together they cover each pixel of the photo once.
    """
    height, width = image.shape[:2]
    tall, wide = (min(window[0], max(height, least[0])), min(window[1], max(width, least[1])))
    down, across = (max(round(side * (1 - overlap)), 1) for side in (tall, wide))
    for left, right in strips(width, strip):
        reaching = [x for x in starts(width, wide, across) if x < right and x + wide > left]
        yield from _strip_bands(image, scores, (tall, wide), down, reaching, (left, right), batch)


def strips(width: int, strip: int) -> list[tuple[int, int]]:
    """Split a width into equal parts, none wider than a strip."""
    count = -(-width // strip)
    edges = [round(i * width / count) for i in range(count + 1)]
    return list(pairwise(edges))


def _strip_bands(
    image: np.ndarray,
    scores: Callable[[Tensor], Tensor],
    window: tuple[int, int],
    step: int,
    columns: list[int],
    sides: tuple[int, int],
    batch: int,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield `bands` of the columns `sides` of the photo, from the windows at the offsets `columns`."""
    (tall, wide), (left, right), height = window, sides, image.shape[0]
    weights = tent(tall)[:, None] * tent(wide)
    begin = columns[0]
    total: Tensor | None = None  # of the rows from `top` on
    top = 0
    for y in starts(height, tall, step):
        if total is not None and y > top:  # no later window reaches the rows above this one
            yield _part(total[:, : y - top], top, (left, right), begin)
            total = F.pad(total[:, y - top :], (0, 0, 0, y - top))
        top = y
        for some in (columns[i : i + batch] for i in range(0, len(columns), batch)):
            found = scores(torch.stack([_crop(image, y, x, window) for x in some])).float().softmax(1)
            if total is None:
                total = torch.zeros(found.shape[1] + 1, tall, columns[-1] + wide - begin, device=found.device)
            weight = weights.to(found.device)
            for x, probabilities in zip(some, found, strict=True):
                place = total[:, :, x - begin : x - begin + wide]
                place[:-1] += probabilities * weight
                place[-1] += weight  # the last channel counts the weights
    assert total is not None
    yield _part(total[:, : height - top], top, (left, right), begin)


def _part(total: Tensor, top: int, sides: tuple[int, int], begin: int) -> tuple[slice, slice, Tensor]:
    inside = total[:, :, sides[0] - begin : sides[1] - begin]
    return slice(top, top + inside.shape[1]), slice(*sides), inside[:-1] / inside[-1]


def _crop(image: np.ndarray, y: int, x: int, window: tuple[int, int]) -> Tensor:
    """Crop a window uint8 (3, *window), padded with the border of the photo."""
    part = image[y : y + window[0], x : x + window[1]]
    missing = window[0] - part.shape[0], window[1] - part.shape[1]
    if any(missing):
        part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))
