"""The look at a data set before training starts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.samples import SegmentationDataset
from utils.errors import UserError

FULL_CHECK_BELOW = 2000
"""Sets with fewer samples than this are decoded whole before training."""


def check_dataset(dataset: SegmentationDataset, length: int, split: str) -> None:
    """Looks at the files of the first `length` samples, and inside them where that does not take long.

    Raises:
        UserError: the split is empty; a file is missing or empty; or, in sets of under 2,000 samples, an
            image or mask cannot be read, does not match the other in size, or has an unknown id.
    """
    if length == 0:
        raise UserError(f"the split '{split}' is empty")
    for index in range(length):
        for path in dataset.files(index):
            _check_file(Path(path))
    if length >= FULL_CHECK_BELOW or not dataset.files(0):
        return
    with ThreadPoolExecutor() as pool:
        samples = pool.map(lambda index: dataset[index].name, range(length))
        for _ in tqdm(samples, desc=f"checking {split}", total=length, unit="img", leave=False, delay=1):
            pass


def _check_file(path: Path) -> None:
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty (0 bytes)")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
