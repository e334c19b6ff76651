"""How often the classes of a data set occur."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from data.samples import SegmentationDataset


def count_pixels(dataset: SegmentationDataset, at_most: int = 1000) -> np.ndarray:
    """Pixels of each class in each image, int64 (images, C), ignored ones left out.

    Of more than `at_most` images, so many are looked at, evenly spread.
    """
    length = len(dataset)
    chosen = np.unique(np.linspace(0, length - 1, min(length, at_most)).round().astype(int)).tolist()

    def count(index: int) -> np.ndarray:
        return np.bincount(dataset[index].mask.ravel(), minlength=256)[: len(dataset.labels)]

    with ThreadPoolExecutor() as pool:
        counts = pool.map(count, chosen)
        bar = tqdm(counts, desc="counting classes", total=len(chosen), unit="img", leave=False, delay=1)
        return np.stack(list(bar))
