"""What all data sets have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data.bands import RGB, Bands, described
from data.labels import LabelSet
from data.parts import Box
from utils.errors import DataFault, UserError, did_you_mean


class Sample(NamedTuple):
    """One picture and its truth.

    Attributes:
        image: uint8 (H, W, 3), RGB; or as the `bands` of its data set: uint8 or float32 (H, W, C), from 0 to 255.
        mask: uint8 (H, W), train ids and 255 where the truth is unknown.
        name: identifies the sample to people, usually a path below the root.
    """

    image: np.ndarray
    mask: np.ndarray
    name: str


def check_pixels(image: object, mask: object, place: str, remedy: str, bands: Bands = RGB) -> None:
    """Check the form of an image and its mask.

    Args:
        place, remedy: beginning and end of the message.

    Raises:
        UserError: they are not an image that fits the bands and a mask uint8 (H, W) of the same size.
    """
    if not bands.fits(image):
        raise UserError(f"{place} an image {described(image)}; {remedy}")
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.uint8 and mask.ndim == 2 and mask.size):
        raise UserError(f"{place} a mask {described(mask)}; {remedy}")
    if image.shape[:2] != mask.shape:
        raise UserError(f"{place} an image {image.shape} and a mask {mask.shape}; they must be of one size")


class BenchmarkScores(Protocol):
    """Scores of a split that a data set defines itself."""

    def add(self, index: int, prediction: np.ndarray) -> None:
        """Add the prediction for a sample: train ids uint8 (H, W), at the size of its mask."""

    def results(self, confusion: np.ndarray, ignored: np.ndarray) -> dict[str, float]:
        """Return the scores by name.

        Args:
            confusion: int64 (C, C), row = truth.
            ignored: int64 (C,), what was predicted where the truth is ignored.
        """


class SegmentationDataset(ABC):
    """Base of all data sets: sized and indexable, `dataset[i]` a pure function of `i`.

    A data set defines `labels`, `__len__` and `__getitem__`. The rest has defaults; override `files` if samples are
    read from files, and `size` and `mask` if they can be known without decoding the photo.

    Attributes:
        labels: what the train ids mean.
        splits: names of the splits that it may have on disk.
        faults: what was found wrong while looking for the samples, such as an image without a mask.
        root: the folder it was read from, None for generated data.
        labels_file: the file in which the user may name further ids, None if there is none.
        bands: channels and values of the images.
        reads_parts: whether `image_part` and `mask_part` may decode less than the whole.
        parts: split -> its parts, for splits that share samples on purpose, such as `trainval`.
    """

    labels: LabelSet
    splits: Sequence[str] = ("train", "val")
    faults: Sequence[DataFault] = ()
    root: Path | None = None
    labels_file: Path | None = None
    bands: Bands = RGB
    reads_parts = False
    parts: Mapping[str, tuple[str, ...]] = {}

    @classmethod
    def known_split(cls, split: str) -> str:
        """Return a split if it is one of `splits`; raise UserError otherwise."""
        if split not in cls.splits:
            hint = did_you_mean(split, cls.splits)
            raise UserError(f"{cls.__name__} has no split '{split}'; it has {', '.join(cls.splits)}{hint}")
        return split

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`.

        Raises:
            utils.errors.DataFault: the files of the sample are unreadable or do not fit together.
        """

    def name(self, index: int) -> str:
        """Return the name of sample `index` without reading it."""
        return f"{index:05}"

    def files(self, index: int) -> list[str]:
        """Return the paths that sample `index` is read from, the image first; empty for generated data."""
        return []

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of sample `index`, uint8 (H, W)."""
        return self[index].mask

    def mask_part(self, index: int, box: Box) -> np.ndarray:
        """Return the part of a mask in a box."""
        return box.of(self.mask(index))

    def image_part(self, index: int, size: tuple[int, int], box: Box, size_used: tuple[int, int]) -> np.ndarray:
        """Return the part of an image in a box, (h, w, C), possibly at a fraction of its resolution.

        Args:
            size: (H, W) of the sample's mask.
            size_used: (h, w) to which the part will be resized.

        Raises:
            DataFault: as for the whole sample.
        """
        return box.of(self[index].image)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the mask."""
        height, width = self.mask(index).shape
        return height, width

    def scores(self) -> BenchmarkScores | None:
        """Return a collector of the scores that the benchmark of the data set defines; None if it defines none."""
        return None


class View(SegmentationDataset):
    """Base of data sets that wrap another one: resized, cached, or a part of it.

    Args:
        dataset: the data set to wrap.
        indices: the samples to keep, in this order; None for all.
    """

    def __init__(self, dataset: SegmentationDataset, indices: Sequence[int] | None = None) -> None:
        self.dataset = dataset
        self.indices = range(len(dataset)) if indices is None else indices
        self.labels, self.splits, self.faults = dataset.labels, dataset.splits, dataset.faults
        self.bands, self.reads_parts = dataset.bands, dataset.reads_parts
        self.root, self.labels_file, self.parts = dataset.root, dataset.labels_file, dataset.parts

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]

    def name(self, index: int) -> str:
        return self.dataset.name(self.indices[index])

    def files(self, index: int) -> list[str]:
        return self.dataset.files(self.indices[index])

    def mask(self, index: int) -> np.ndarray:
        return self.dataset.mask(self.indices[index])

    def mask_part(self, index: int, box: Box) -> np.ndarray:
        return self.dataset.mask_part(self.indices[index], box)

    def image_part(self, index: int, size: tuple[int, int], box: Box, size_used: tuple[int, int]) -> np.ndarray:
        return self.dataset.image_part(self.indices[index], size, box, size_used)

    def size(self, index: int) -> tuple[int, int]:
        return self.dataset.size(self.indices[index])
