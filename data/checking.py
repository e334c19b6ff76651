"""The checks of a data set before training starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from data.bands import saturated
from data.cache import CachedSamples
from data.fitting import Fit
from data.labels import IGNORE_INDEX, LabelSet, difference
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from data.statistics import evenly_spread, in_threads
from utils.errors import Unreadable, UserError
from utils.paths import refuse_special
from utils.text import enumeration, plural

log = logging.getLogger(__name__)

FULL_CHECK_BELOW = 2000
"""Sets with fewer samples than this are decoded completely before training."""
SPOT_CHECKS = 100
"""Samples of larger sets that are decoded to see which classes occur."""
NAMED = 8  # classes in a message


def checked_samples(
    dataset: SegmentationDataset,
    split: str,
    image_size: tuple[int, int] | None,
    *,
    masks: bool,
    limit: int | None = None,
    fit: Fit = "stretch",
    cache: Literal["none", "ram", "disk"] = "none",
    allow_single_class: bool = False,
) -> SegmentationDataset:
    """Check a split and return its samples at the size of the network's input, cached if requested.

    Args:
        image_size, masks, limit, fit: as for `data.resized.ResizedSamples`; `masks` is true for training.
        cache: as for `data.cache.CachedSamples`.
        allow_single_class: accept training masks in which only one class occurs.

    Raises:
        UserError: as for `check_files` and `check_contents`; the masks have no labelled pixel, or in training only one
            class; there is no room for the cache.
    """
    samples = ResizedSamples(dataset, image_size, masks, limit, fit)
    check_files(samples, split)
    kept = samples if cache == "none" else CachedSamples(samples, cache)
    pixels = check_contents(kept, split, classes=2 if masks else 1)
    if pixels is not None:
        is_padded = masks and image_size is not None and fit == "pad"  # with 255, whatever the masks hold
        file = None if is_padded else dataset.labels_file
        fault = class_fault(pixels, dataset.labels, split, file, single=not masks or allow_single_class)
        if fault:
            raise UserError(fault)
        for warning in class_warnings(pixels, len(kept), dataset.labels, split, file):
            log.warning("%s", warning)
    return kept


def check_files(dataset: SegmentationDataset, split: str) -> None:
    """Check that a split has samples, and that their files are there; contents are not read.

    Raises:
        UserError: the split is empty; a file has no partner, is missing or empty.
    """
    if dataset.faults:
        raise dataset.faults[0]
    if len(dataset) == 0:
        where = f": there are no samples of it in {dataset.root}" if dataset.root else ""
        raise UserError(f"the split '{split}' is empty{where}")
    for index in range(len(dataset)):
        for path in dataset.files(index):
            _check_file(path)


def check_fits(
    channels: int,
    classes: Sequence[str],
    dataset: SegmentationDataset,
    network: str = "the network",
    remedy: str = "choose data with the classes and channels that it was trained for",
) -> None:
    """Check that a data set has the channels and classes of a network.

    Args:
        network: what messages call the network.
        remedy: end of the messages.

    Raises:
        UserError: it has not.
    """
    if channels != dataset.bands.channels:
        raise UserError(
            f"{network} takes photos of {plural(channels, 'channel')} and the data set has {dataset.bands.channels};"
            f" {remedy}"
        )
    known, there = list(classes), list(dataset.labels.names)
    if known != there:
        raise UserError(
            f"{network} has {plural(len(known), 'class', 'classes')} and the data set has {len(there)}; they differ in"
            f" {difference(known, there)}; {remedy}"
        )


def check_contents(dataset: SegmentationDataset, split: str, classes: int = 0) -> np.ndarray | None:
    """Read all samples of a set of under 2,000 and count their pixels; of a larger set, some that are evenly spread.

    Logs a warning if the values of the photos seem to have another range (`data.bands.Bands.range_warning`).

    Args:
        classes: read more of a larger set until this many classes were found.

    Returns:
        The pixels of each train id in each sample that was read, int64 (samples, 256); None for generated data.

    Raises:
        DataFault: an image or mask that was read is damaged, does not match the other in size, or has an unknown id.
    """
    if not dataset.files(0):
        return None
    length = len(dataset)
    if length < FULL_CHECK_BELOW:
        return _count(dataset, range(length), split, check_range=True)
    counts = _count(dataset, evenly_spread(length, SPOT_CHECKS), split, check_range=True)
    for first in range(0, length, SPOT_CHECKS):
        if np.count_nonzero(counts[:, :IGNORE_INDEX].any(0)) >= classes:
            break
        more = _count(dataset, range(first, min(first + SPOT_CHECKS, length)), split)
        counts = np.concatenate([counts, more])
    return counts


def class_fault(
    pixels: np.ndarray, labels: LabelSet, split: str, labels_file: Path | None = None, single: bool = False
) -> str | None:
    """Return why nothing can be learnt or measured on masks of one class or none; None if they hold more.

    Args:
        pixels: int64 (samples, 256), of each train id in each mask.
        labels_file: the file in which the user can name further ids.
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
        "Check the masks and the labels, or pass data.allow_single_class=true if one class is intended"
    )


def class_warnings(
    pixels: np.ndarray, samples: int, labels: LabelSet, split: str, labels_file: Path | None = None
) -> list[str]:
    """Return warnings about the classes of a split.

    One names the classes that do not occur. Another says that some masks of two classes may hold 0 and 255, others 0
    and 1, which is likely if 255 occurs and no mask with it has the second class.

    Args:
        pixels, labels_file: as for `class_fault`.
        samples: number of samples of the split; only some of a large split are counted.
    """
    found = []
    absent = [name for name, count in zip(labels.names, pixels.sum(0), strict=False) if not count]
    if absent:
        some = "" if len(pixels) >= samples else f"{len(pixels)} of the {samples} samples of "
        hint = _about_ignored(pixels, labels_file)
        found.append(f"classes that do not occur in {some}'{split}': {enumeration(absent, NAMED)}{hint}")
    has_second, has_ignored = pixels[:, 1] > 0, pixels[:, IGNORE_INDEX] > 0
    is_mixed = has_second.any() and has_ignored.any() and not (has_second & has_ignored).any()
    if is_mixed and len(labels) == 2 and labels_file is not None:
        found.append(
            f"'{labels.names[1]}' is in {plural(int(has_second.sum()), 'mask')} of '{split}', and 255 (or white), which"
            f" is ignored, only in {int(has_ignored.sum())} others: if it means the same there, save all masks with the"
            f" same ids or colours as in {labels_file}"
        )
    return found


def _about_ignored(pixels: np.ndarray, labels_file: Path | None) -> str:
    """Return a hint that 255 may be the missing class, if the user names the ids."""
    masks = int((pixels[:, IGNORE_INDEX] > 0).sum())
    if not masks or labels_file is None:
        return ""
    return (
        f"; 255 (or white) occurs in {plural(masks, 'mask')} and is ignored: name it in {labels_file} if it is a class"
    )


def _count(dataset: SegmentationDataset, indices: Sequence[int], split: str, check_range: bool = False) -> np.ndarray:
    def look(index: int) -> tuple[np.ndarray, float, float]:
        image, mask, _ = dataset[index]
        return np.bincount(mask.ravel(), minlength=256), float(image.max()), saturated(image)

    counts, largest, shares = zip(*in_threads(look, indices, f"checking {split}"), strict=True)
    if check_range and (reason := dataset.bands.range_warning(max(largest), float(np.mean(shares)))):
        log.warning("the photos of '%s': %s", split, reason)
    return np.stack(counts)


def _check_file(path: str) -> None:
    try:
        refuse_special(path)
        if os.stat(path).st_size == 0:  # noqa: PTH116 - for 100,000 files, Path takes longer than the system
            raise Unreadable(f"{path}: the file is empty (0 bytes)")
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
