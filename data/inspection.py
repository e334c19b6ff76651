"""What is in a split, sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from data.samples import SegmentationDataset
from data.statistics import channel_sums, mean_and_std
from utils.errors import DataFault


class Finding(NamedTuple):
    """One sample.

    Attributes:
        name: of the sample.
        pixels: int64 (256,), how many have each train id; 255 is ignored.
        sums, squares: float64 (C,) over the pixels of the image, by channel, of values from 0 to 1.
        digest: of the decoded image; equal for equal images.
    """

    name: str
    pixels: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    digest: bytes


def inspect(dataset: SegmentationDataset, length: int) -> Iterator[Finding | DataFault]:
    """Read the first samples in threads; yield what is in each, or what is wrong with it, in their order."""

    def look(index: int) -> Finding | DataFault:
        try:
            image, mask, name = dataset[index]
        except DataFault as fault:
            return fault
        sums, squares = channel_sums(image)
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, person=str(image.shape[:2]).encode()[:16])
        pixels = np.bincount(mask.ravel(), minlength=256)
        return Finding(name, pixels, sums, squares, digest.digest())

    with ThreadPoolExecutor() as pool:
        yield from pool.map(look, range(length))


class SplitFacts(NamedTuple):
    """What is known of a split.

    Attributes:
        pixels: int64 (samples, 256), of each sample as in `Finding`.
        mean, std: float64 (C,) of the images' channels, 0 to 1.
        names: of the samples that could be read.
        digests: of their images.
        faults: what is wrong with the others, and with the pairing of files.
    """

    pixels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    names: list[str]
    digests: list[bytes]
    faults: list[DataFault]

    def unlabelled(self) -> list[str]:
        """Samples in which every pixel is ignored."""
        return [name for name, pixels in zip(self.names, self.pixels, strict=True) if not pixels[:255].any()]


def summarise(findings: list[Finding | DataFault], faults: list[DataFault]) -> SplitFacts:
    """Combine what `inspect` yielded with the faults that the data set found itself."""
    good = [finding for finding in findings if isinstance(finding, Finding)]
    pixels = np.stack([finding.pixels for finding in good]) if good else np.zeros((0, 256), np.int64)
    total = int(pixels.sum())
    channels = len(good[0].sums) if good else 3
    sums = sum((finding.sums for finding in good), np.zeros(channels))
    squares = sum((finding.squares for finding in good), np.zeros(channels))
    bad = [*faults, *(finding for finding in findings if isinstance(finding, DataFault))]
    names, digests = [finding.name for finding in good], [finding.digest for finding in good]
    return SplitFacts(pixels, *mean_and_std(total, sums, squares), names, digests, bad)
