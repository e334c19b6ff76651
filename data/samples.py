"""What every data set of this package is: a sized, indexable source of samples."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from data.labels import LabelSet


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


class SegmentationDataset(Protocol):
    """`dataset[i]` is a pure function of `i`: nothing random happens inside a data set."""

    labels: LabelSet

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`.

        Raises:
            utils.errors.UserError: the files of the sample are unreadable or do not fit together.
        """
        ...

    def files(self, index: int) -> list[str]:
        """Paths that sample `index` is read from; empty for generated data."""
        ...
