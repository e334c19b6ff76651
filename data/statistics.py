"""Counts of classes and statistics of images, over some or all samples of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from data.bands import saturated
from data.cache_files import cache_key, kept_arrays
from data.samples import SegmentationDataset
from utils.errors import DataFault

T = TypeVar("T")

ENOUGH = 1000
"""Samples from which balancing weights and the statistics of channels are estimated."""


def in_threads(function: Callable[[int], T], indices: Sequence[int], title: str) -> list[T]:
    """Return what a function returns for each index; several threads call it, with a progress bar."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(function, indices)
        return list(tqdm(found, title, len(indices), unit="img", leave=False, delay=1, disable=None))


def evenly_spread(length: int, at_most: int) -> list[int]:
    """Return `at_most` of `length` indices, the first and last among them; all of them if there are fewer."""
    return np.unique(np.linspace(0, length - 1, min(length, at_most)).round().astype(int)).tolist()


def count_pixels(dataset: SegmentationDataset) -> np.ndarray:
    """Return the pixels of each class in `ENOUGH` masks, evenly spread: int64 (masks, C), without ignored pixels."""
    return _counted(dataset, evenly_spread(len(dataset), ENOUGH))


def class_counts(dataset: SegmentationDataset) -> np.ndarray:
    """Return the pixels of each class in each mask, int64 (N, C), without ignored pixels; they are kept on disk.

    Raises:
        DataFault: a mask is damaged.
    """
    name = f"classes-{cache_key(dataset)}"
    return kept_arrays(name, lambda: {"counts": _counted(dataset, range(len(dataset)))})["counts"]


def channel_statistics(dataset: SegmentationDataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, for values from 0 to 1; of `ENOUGH` images, evenly spread.

    A channel that never changes has the deviation 1.
    """

    def sums(index: int) -> tuple[int, np.ndarray, np.ndarray]:
        image = dataset[index].image
        return image.shape[0] * image.shape[1], *_channel_sums(image)

    found = in_threads(sums, evenly_spread(len(dataset), ENOUGH), "statistics")
    mean, std = _mean_and_std(*(sum(part[1:], part[0]) for part in zip(*found, strict=True)))
    std[std < 1e-6] = 1
    return tuple(mean.tolist()), tuple(std.tolist())


class SplitFacts(NamedTuple):
    """What is known of a split.

    Attributes:
        names: names of the samples that could be read.
        pixels: int64 (samples, 256), how many of each have each train id; 255 is ignored.
        digests: digests of their decoded images, equal for equal images.
        mean, std: float64 (C,) of the images' channels, 0 to 1.
        largest, saturated: arguments of `data.bands.Bands.range_warning` for these images.
        faults: what is wrong with the other samples, and with the pairing of files.
    """

    names: list[str]
    pixels: np.ndarray
    digests: list[bytes]
    mean: np.ndarray
    std: np.ndarray
    largest: float
    saturated: float
    faults: list[DataFault]


def inspect(dataset: SegmentationDataset, split: str, length: int) -> SplitFacts:
    """Read the first samples of a split and summarise what is in them."""

    def look(index: int) -> tuple[str, np.ndarray, bytes, np.ndarray, np.ndarray, float, float] | DataFault:
        try:
            image, mask, name = dataset[index]
        except DataFault as fault:
            return fault
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, person=str(image.shape[:2]).encode()[:16])
        values = float(image.max()), saturated(image)
        return name, np.bincount(mask.ravel(), minlength=256), digest.digest(), *_channel_sums(image), *values

    found = in_threads(look, range(length), split)
    good = [one for one in found if not isinstance(one, DataFault)]
    pixels = np.array([counts for _, counts, *_ in good], np.int64).reshape(-1, 256)
    sums, squares = sum((one[3] for one in good), np.zeros(())), sum((one[4] for one in good), np.zeros(()))
    mean, std = _mean_and_std(int(pixels.sum()), sums, squares)
    faults = [*dataset.faults, *(one for one in found if isinstance(one, DataFault))]
    largest, share = max((one[5] for one in good), default=255), sum(one[6] for one in good) / max(len(good), 1)
    digests = [one[2] for one in good]
    return SplitFacts([name for name, *_ in good], pixels, digests, mean, std, largest, share, faults)


def _counted(dataset: SegmentationDataset, indices: Sequence[int]) -> np.ndarray:
    def count(index: int) -> np.ndarray:
        return np.bincount(dataset.mask(index).ravel(), minlength=256)[: len(dataset.labels)]

    counts = in_threads(count, indices, "counting classes")
    return np.array(counts, np.int64).reshape(len(indices), len(dataset.labels))


def _channel_sums(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and sum of squares of each channel, float64 (C,), of an image (H, W, C), for values from 0 to 1."""
    if image.dtype == np.uint8:
        counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(image, -1, 0)])
        values = np.arange(256) / 255
        return counts @ values, counts @ values**2
    values = image.reshape(-1, image.shape[2]).astype(np.float64) / 255
    return values.sum(0), (values**2).sum(0)


def _mean_and_std(pixels: int, sums: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation, float64 (C,), from the sums over all pixels."""
    mean = sums / max(pixels, 1)
    return mean, np.sqrt(np.maximum(squares / max(pixels, 1) - mean**2, 0))
