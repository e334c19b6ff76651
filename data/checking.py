"""The look at a data set before training starts."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from data.samples import SegmentationDataset
from utils.errors import Unreadable, UserError

FULL_CHECK_BELOW = 2000
"""Sets with fewer samples than this are decoded whole before training."""


def check_dataset(dataset: SegmentationDataset, split: str) -> None:
    """Looks at the files of a data set, and inside them where that does not take long.

    Raises:
        UserError: the split is empty; a file has no partner, is missing or empty; or, in sets of under 2,000 samples,
            an image or mask cannot be read, does not match the other in size, or has an unknown id.
    """
    if dataset.faults:
        raise dataset.faults[0]
    if len(dataset) == 0:
        raise UserError(f"the split '{split}' is empty")
    for index in range(len(dataset)):
        for path in dataset.files(index):
            check_file(path)
    if len(dataset) >= FULL_CHECK_BELOW or not dataset.files(0):
        return
    with ThreadPoolExecutor() as pool:
        samples = pool.map(lambda index: dataset[index].name, range(len(dataset)))
        for _ in tqdm(samples, desc=f"checking {split}", total=len(dataset), unit="img", leave=False, delay=1):
            pass


def check_file(path: str) -> None:
    """
    Raises:
        Unreadable: the file is not there, or empty.
    """
    try:
        if os.stat(path).st_size == 0:  # noqa: PTH116 - of 100,000 files, Path takes longer
            raise Unreadable(f"{path}: the file is empty (0 bytes)")
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
