"""The look at a data set before training starts."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from tqdm import tqdm

from data.cache import CachedSamples
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from utils.errors import Unreadable, UserError
from utils.paths import refuse_special

FULL_CHECK_BELOW = 2000
"""Sets with fewer samples than this are decoded whole before training."""


def checked_samples(
    dataset: SegmentationDataset,
    split: str,
    image_size: tuple[int, int],
    *,
    masks: bool,
    limit: int | None = None,
    cache: Literal["none", "ram", "disk"] = "none",
) -> SegmentationDataset:
    """The samples of a split at the size of the network's input, after a look at them, and kept if wished.

    Args:
        masks, limit: as `data.resized.ResizedSamples`.
        cache: as `data.cache.CachedSamples`.

    Raises:
        UserError: as `check_files` and `check_contents`; or there is no room for the cache.
    """
    samples = ResizedSamples(dataset, image_size, masks, limit)
    check_files(samples, split)
    kept = samples if cache == "none" else CachedSamples(samples, cache)
    check_contents(kept, split)
    return kept


def check_dataset(dataset: SegmentationDataset, split: str) -> None:
    """
    Raises:
        UserError: as `check_files` and `check_contents`.
    """
    check_files(dataset, split)
    check_contents(dataset, split)


def check_files(dataset: SegmentationDataset, split: str) -> None:
    """
    Raises:
        UserError: the split is empty; a file has no partner, is missing or empty.
    """
    if dataset.faults:
        raise dataset.faults[0]
    if len(dataset) == 0:
        root = getattr(dataset, "root", None)
        raise UserError(f"the split '{split}' is empty{f': there are no samples of it in {root}' if root else ''}")
    for index in range(len(dataset)):
        for path in dataset.files(index):
            _check_file(path)


def check_contents(dataset: SegmentationDataset, split: str) -> None:
    """Reads all samples of a set that is small enough.

    Raises:
        DataFault: in sets of under 2,000 samples, an image or mask cannot be read, does not match the other in size,
            or has an unknown id.
    """
    if len(dataset) >= FULL_CHECK_BELOW or not dataset.files(0):
        return
    with ThreadPoolExecutor() as pool:
        samples = pool.map(lambda index: dataset[index].name, range(len(dataset)))
        for _ in tqdm(samples, desc=f"checking {split}", total=len(dataset), unit="img", leave=False, delay=1):
            pass


def _check_file(path: str) -> None:
    try:
        refuse_special(path)
        if os.stat(path).st_size == 0:  # noqa: PTH116 - of 100,000 files, Path takes longer than the system
            raise Unreadable(f"{path}: the file is empty (0 bytes)")
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
