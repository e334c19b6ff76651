"""Tell whether two folders hold the same samples."""

from __future__ import annotations

import hashlib
import os
from typing import TypedDict

from data.samples import SegmentationDataset


class Fingerprint(TypedDict):
    """What identifies the samples of a split.

    Attributes:
        samples: number of samples.
        names: SHA-256 of their names, in order.
        sha256: of their names and the sizes of their files in bytes, in order.
    """

    samples: int
    names: str
    sha256: str


def fingerprint(dataset: SegmentationDataset, count: int | None = None) -> Fingerprint:
    """Return the fingerprint of a data set, or of its first samples. It does not depend on the root.

    Files are not read.
    """
    found, names = hashlib.sha256(), hashlib.sha256()
    length = len(dataset) if count is None else count
    for index in range(length):
        # A data set of a user may name files that are made later.
        sizes = [os.stat(path).st_size for path in dataset.files(index) if os.path.exists(path)]  # noqa: PTH110, PTH116
        names.update(f"{dataset.name(index)}\n".encode(errors="surrogateescape"))
        found.update(f"{dataset.name(index)}\0{sizes}\n".encode(errors="surrogateescape"))
    return {"samples": length, "names": names.hexdigest(), "sha256": found.hexdigest()}
