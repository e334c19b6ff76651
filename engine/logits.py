"""Logits of a network to classes at the size of a photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def resize_logits(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize logits (1, C, h, w), without gradients, to float32 (1, C, *size): bilinear, align_corners=False."""
    if logits.shape[-2:] == size:
        return logits.float()
    if logits.device.type != "cpu":
        return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    resized = torch.empty(1, logits.shape[1], *size)
    for plane, place in zip(_resized_planes(logits, size), resized[0].numpy(), strict=True):
        place[:] = plane
    return resized


def stretched_rows(logits: Tensor, rows: slice, height: int) -> Tensor:
    """Resize logits (1, C, h, w) bilinearly to a height, and return some rows, float32 (1, C, rows, w)."""
    low = logits.shape[2]
    places = torch.arange(rows.start, rows.stop, dtype=torch.float64)
    places = ((places + 0.5) * (low / height) - 0.5).clamp(min=0)
    above = places.long().clamp(max=low - 1)
    below = (above + 1).clamp(max=low - 1)
    share = (places - above).to(torch.float32)[:, None].to(logits.device)
    above, below = above.to(logits.device), below.to(logits.device)
    return logits[:, :, above].float() * (1 - share) + logits[:, :, below].float() * share


def without_padding(logits: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the logits (1, C, h, w) of a padded photo without the padding below it or right of it.

    `resize_logits` of them to `size` is `resize_logits` of all to `padded`, cut to `size`, but in less memory: a narrow
    photo is small, and its padded size is not.
    """
    if size[0] < padded[0]:
        logits = stretched_rows(logits, slice(0, size[0]), padded[0])
    if size[1] < padded[1]:
        logits = stretched_rows(logits.transpose(2, 3), slice(0, size[1]), padded[1]).transpose(2, 3)
    return logits.contiguous()


def likeliest(scores: Tensor, dim: int) -> Tensor:
    """Return the argmax along a dimension as uint8; the first of equal scores."""
    if scores.device.type != "cpu":
        return scores.argmax(dim).to(torch.uint8)
    return torch.from_numpy(_place_of_largest(plane.numpy() for plane in scores.float().unbind(dim)))


def likeliest_at(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return `likeliest` of `resize_logits`, uint8 `size`. On a CPU only one class is held at that size at a time."""
    if logits.device.type != "cpu" or logits.shape[-2:] == size:
        return likeliest(resize_logits(logits, size)[0], 0)
    return torch.from_numpy(_place_of_largest(_resized_planes(logits, size)))


def _resized_planes(logits: Tensor, size: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the resized logits (*size) of each class, by OpenCV, which takes a quarter of the time of PyTorch."""
    for plane in logits[0].float().numpy():
        yield cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)


def _place_of_largest(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Return the argmax over planes, computed without branches, several times as fast as NumPy's."""
    planes = iter(planes)
    largest = next(planes).copy()
    place = np.zeros(largest.shape, np.uint8)
    is_larger = np.empty(largest.shape, bool)
    for number, plane in enumerate(planes, 1):
        np.greater(plane, largest, out=is_larger)
        np.maximum(plane, largest, out=largest)
        np.maximum(place, is_larger.view(np.uint8) * np.uint8(number), out=place)
    return place
