"""How often the classes of a data set occur, and the statistics of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from data.cache import fingerprint, kept_arrays
from data.labels import IGNORE_INDEX, LabelSet
from data.samples import SegmentationDataset
from utils.text import plural

T = TypeVar("T")

NAMED = 8  # classes in a message


def in_threads(function: Callable[[int], T], indices: Sequence[int], title: str) -> list[T]:
    """Return what a function gives for each sample; several threads call it, and a bar shows how far they are."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(function, indices)
        return list(tqdm(found, title, len(indices), unit="img", leave=False, delay=1, disable=None))


def count_pixels(dataset: SegmentationDataset, at_most: int = 1000) -> np.ndarray:
    """Pixels of each class in each image, int64 (images, C), ignored ones left out.

    Of more than `at_most` images, so many are looked at, evenly spread.
    """
    return _counted(dataset, evenly_spread(len(dataset), at_most))


def class_counts(dataset: SegmentationDataset) -> np.ndarray:
    """Return the pixels of each class in each mask, int64 (N, C); ignored pixels are left out.

    The counts are kept in `datasets/.cache/`, under a hash of the data set's options, its files' dates, and the code.

    Raises:
        DataFault: a mask is damaged.
    """
    name = f"classes-{fingerprint(dataset)}"
    return kept_arrays(name, lambda: {"counts": _counted(dataset, range(len(dataset)))})["counts"]


def _counted(dataset: SegmentationDataset, indices: Sequence[int]) -> np.ndarray:
    def count(index: int) -> np.ndarray:
        return np.bincount(dataset.mask(index).ravel(), minlength=256)[: len(dataset.labels)]

    counts = in_threads(count, indices, "counting classes")
    return np.array(counts, np.int64).reshape(len(indices), len(dataset.labels))


def channel_sums(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and sum of squares of each channel, float64 (C,), of an image (H, W, C), for values from 0 to 1."""
    if image.dtype == np.uint8:
        counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(image, -1, 0)])
        values = np.arange(256) / 255
        return counts @ values, counts @ values**2
    values = image.reshape(-1, image.shape[2]).astype(np.float64) / 255
    return values.sum(0), (values**2).sum(0)


def channel_statistics(
    dataset: SegmentationDataset, at_most: int = 1000
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over a set's images, for values from 0 to 1.

    A channel that never changes has the deviation 1. Of more than `at_most` images, that many are read, evenly spread.
    """

    def sums(index: int) -> tuple[int, np.ndarray, np.ndarray]:
        image = dataset[index].image
        return image.shape[0] * image.shape[1], *channel_sums(image)

    found = in_threads(sums, evenly_spread(len(dataset), at_most), "statistics")
    mean, std = mean_and_std(*(sum(part[1:], part[0]) for part in zip(*found, strict=True)))
    std[std < 1e-6] = 1
    return tuple(mean.tolist()), tuple(std.tolist())


def mean_and_std(pixels: int, sums: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation, float64 (C,), of so many pixels with these sums."""
    mean = sums / max(pixels, 1)
    return mean, np.sqrt(np.maximum(squares / max(pixels, 1) - mean**2, 0))


def evenly_spread(length: int, at_most: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, min(length, at_most)).round().astype(int)).tolist()


def class_fault(
    pixels: np.ndarray, labels: LabelSet, split: str, labels_file: Path | None = None, single: bool = False
) -> str | None:
    """Say why nothing can be learnt or measured on a split whose masks hold one class or none; None if they hold more.

    Args:
        pixels: int64 (samples, 256), of each train id in each mask.
        labels_file: what the user can name further ids in.
        single: whether one class is enough.
    """
    there = np.flatnonzero(pixels[:, : len(labels)].sum(0))
    masks = plural(len(pixels), "mask")
    if not there.size:
        return (
            f"the split '{split}' has no labelled pixel: nothing but 255, which is ignored, in {masks}\n"
            "Check the masks, or choose another split with data.train_split and data.val_split"
        )
    if there.size > 1 or single:
        return None
    return (
        f"the split '{split}' has only one class: all labelled pixels of {masks} are"
        f" '{labels.names[there[0]]}'{_about_ignored(pixels, labels_file)}\n"
        "Check the masks and the labels, or pass data.allow_single_class=true if one class is meant"
    )


def absent_classes(
    pixels: np.ndarray, samples: int, labels: LabelSet, split: str, labels_file: Path | None = None
) -> str | None:
    """Name in one line the classes that do not occur in a split; None if all do.

    Args:
        pixels, labels_file: as in `class_fault`.
        samples: how many the split has; of larger ones only some were counted.
    """
    absent = [name for name, count in zip(labels.names, pixels.sum(0), strict=False) if not count]
    if not absent:
        return None
    where = f"in '{split}'" if len(pixels) >= samples else f"in {len(pixels)} of the {samples} samples of '{split}'"
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    names = ", ".join(absent[:NAMED])
    return f"classes that do not occur {where}: {names}{more}{_about_ignored(pixels, labels_file)}"


def _about_ignored(pixels: np.ndarray, labels_file: Path | None) -> str:
    """What may be the class that is missed, where the user named the ids."""
    masks = int((pixels[:, IGNORE_INDEX] > 0).sum())
    if not masks or labels_file is None:
        return ""
    where = plural(masks, "mask")
    return f"; 255 (or white) occurs in {where} and is ignored: name it in {labels_file} if it is a class"
