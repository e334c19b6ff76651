"""How closely two networks agree on images, and how long each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.images import resize_image
from engine.logits import likeliest

Network = Callable[[Tensor], Tensor]
"""Images (N, channels, H, W), from 0 to 255 -> logits (N, C, H, W)."""


class Agreement(NamedTuple):
    """How closely two networks agree.

    Attributes:
        difference: the largest absolute difference of logits.
        spread: standard deviation of the logits of the first network, for comparison.
        equal: share of the pixels with the same class.
        seconds: median time per image of each network.
    """

    difference: float
    spread: float
    equal: float
    seconds: tuple[float, float]


@torch.inference_mode()
def compare(
    first: Network, second: Network, photos: Sequence[np.ndarray], size: tuple[int, int], batch: int
) -> Agreement:
    """Run both networks on photos (H, W, channels), resized to `size`, in batches of `batch`.

    They take turns, so that a busy machine slows both alike. The first batch is not timed.
    """
    resized = [torch.from_numpy(np.ascontiguousarray(resize_image(photo, size))).permute(2, 0, 1) for photo in photos]
    resized += resized[: -len(resized) % batch]
    batches = [torch.stack(resized[i : i + batch]).contiguous() for i in range(0, len(resized), batch)]
    difference, spreads, equal = 0.0, [], 0
    times: tuple[list[float], list[float]] = ([], [])
    first(batches[0]), second(batches[0])
    for images in batches:
        (a, taken), (b, taken_by_second) = _timed(first, images), _timed(second, images)
        times[0].append(taken / batch)
        times[1].append(taken_by_second / batch)
        difference = max(difference, (a - b).abs().max().item())
        spreads.append(a.std().item())
        equal += int((likeliest(a, 1) == likeliest(b, 1)).sum())
    pixels = len(resized) * size[0] * size[1]
    medians = statistics.median(times[0]), statistics.median(times[1])
    return Agreement(difference, statistics.mean(spreads), equal / pixels, medians)


def _timed(network: Network, images: Tensor) -> tuple[Tensor, float]:
    start = time.perf_counter()
    logits = network(images)
    return logits, time.perf_counter() - start
