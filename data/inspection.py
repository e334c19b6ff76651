"""What is in a split, sample by sample."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from data.samples import SegmentationDataset
from data.statistics import channel_sums, in_threads, mean_and_std
from utils.errors import DataFault


class SplitFacts(NamedTuple):
    """What is known of a split.

    Attributes:
        names: of the samples that could be read.
        pixels: int64 (samples, 256), how many of each have each train id; 255 is ignored.
        digests: of their decoded images; equal for equal images.
        mean, std: float64 (C,) of the images' channels, 0 to 1.
        faults: what is wrong with the others, and with the pairing of files.
    """

    names: list[str]
    pixels: np.ndarray
    digests: list[bytes]
    mean: np.ndarray
    std: np.ndarray
    faults: list[DataFault]


def inspect(dataset: SegmentationDataset, split: str, length: int) -> SplitFacts:
    """Read the first samples in threads, with a progress bar, and summarise what is in them."""

    def look(index: int) -> tuple[str, np.ndarray, bytes, np.ndarray, np.ndarray] | DataFault:
        try:
            image, mask, name = dataset[index]
        except DataFault as fault:
            return fault
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, person=str(image.shape[:2]).encode()[:16])
        return name, np.bincount(mask.ravel(), minlength=256), digest.digest(), *channel_sums(image)

    found = in_threads(look, range(length), split)
    good = [one for one in found if not isinstance(one, DataFault)]
    pixels = np.array([counts for _, counts, *_ in good], np.int64).reshape(-1, 256)
    sums, squares = sum((one[3] for one in good), np.zeros(())), sum((one[4] for one in good), np.zeros(()))
    mean, std = mean_and_std(int(pixels.sum()), sums, squares)
    faults = [*dataset.faults, *(one for one in found if isinstance(one, DataFault))]
    return SplitFacts([name for name, *_ in good], pixels, [one[2] for one in good], mean, std, faults)
