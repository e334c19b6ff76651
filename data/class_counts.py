"""Pixels of each class in each sample, counted once and kept on disk."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from data.cache import cache_home, fingerprint
from data.samples import SegmentationDataset
from utils.files import atomic_write

log = logging.getLogger(__name__)


def class_counts(dataset: SegmentationDataset) -> np.ndarray:
    """Return the pixels of each class in each mask, int64 (N, C); ignored pixels are left out.

    The counts are kept in `datasets/.cache/`, under a hash of the data set's options, its files' dates, and the code.

    Raises:
        DataFault: a mask is damaged.
    """
    path = cache_home() / f"classes-{fingerprint(dataset)}.npy"
    shape = len(dataset), len(dataset.labels)
    try:
        kept = np.load(path)
        if kept.shape == shape:
            return kept
    except (OSError, ValueError, EOFError):  # not there, or damaged
        pass

    def count(index: int) -> np.ndarray:
        return np.bincount(dataset.mask(index).ravel(), minlength=256)[: len(dataset.labels)]

    with ThreadPoolExecutor() as pool:
        found = pool.map(count, range(len(dataset)))
        bar = tqdm(found, "counting classes", len(dataset), unit="img", leave=False, delay=1, disable=None)
        counts = np.array(list(bar))
    counts = counts.astype(np.int64).reshape(shape)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.save(file, counts)
    except OSError as error:
        log.info("the counts of the classes are not kept: %s cannot be written (%s)", path, error.strerror)
    return counts
