"""What every data set of this package is: a sized, indexable source of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from data.labels import LabelSet
from utils.errors import DataFault, UserError


class Sample(NamedTuple):
    """One picture and its truth.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        mask: uint8 (H, W), train ids and 255 where the truth is unknown.
        name: what identifies the sample to a person, usually a path below the root.
    """

    image: np.ndarray
    mask: np.ndarray
    name: str


def check_pixels(image: object, mask: object, place: str, remedy: str) -> None:
    """Check the form of an image and its mask.

    Args:
        place, remedy: beginning and end of the message.

    Raises:
        UserError: they are not uint8 (H, W, 3) and uint8 (H, W).
    """
    for kind, pixels, dims in (("image", image, 3), ("mask", mask, 2)):
        shape = getattr(pixels, "shape", None)
        whole = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == dims and pixels.size > 0
        if not whole or (kind == "image" and pixels.shape[2] != 3):  # type: ignore[attr-defined]
            found = type(pixels).__name__ if shape is None else f"{getattr(pixels, 'dtype', '')} {tuple(shape)}"
            raise UserError(f"{place} an {kind} {found}; {remedy}".replace("an mask", "a mask"))
    if image.shape[:2] != mask.shape:  # type: ignore[attr-defined]
        raise UserError(f"{place} an image {image.shape} and a mask {mask.shape}; they must be of one size")  # type: ignore[attr-defined]


class SegmentationDataset(Protocol):
    """`dataset[i]` is a pure function of `i`: nothing random happens inside a data set.

    Attributes:
        labels: what the train ids mean.
        splits: names of the splits that it may have on disk.
        faults: what was found wrong in looking for the samples, such as an image without a mask.
    """

    @property
    def labels(self) -> LabelSet: ...

    @property
    def splits(self) -> Sequence[str]: ...

    @property
    def faults(self) -> Sequence[DataFault]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`.

        Raises:
            utils.errors.DataFault: the files of the sample are unreadable or do not fit together.
        """
        ...

    def name(self, index: int) -> str:
        """The name of sample `index`, which is not read for it."""
        ...

    def files(self, index: int) -> list[str]:
        """Paths that sample `index` is read from; empty for generated data."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the mask, which is not decoded for it."""
        ...


class BenchmarkScores(Protocol):
    """Scores of a split that a data set defines itself."""

    def add(self, index: int, prediction: np.ndarray) -> None:
        """Takes in what was predicted for a sample: train ids uint8 (H, W), at the size of its mask."""
        ...

    def results(self, confusion: np.ndarray, ignored: np.ndarray) -> dict[str, float]:
        """The scores by name.

        Args:
            confusion: int64 (C, C), row = truth.
            ignored: int64 (C,), what was predicted where the truth is ignored.
        """
        ...


@runtime_checkable
class HasScores(Protocol):
    """A data set whose benchmark has scores of its own."""

    def scores(self) -> BenchmarkScores: ...
