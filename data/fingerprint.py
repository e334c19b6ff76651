"""Tell whether two folders hold the same samples."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from data.samples import SegmentationDataset


def fingerprint(dataset: SegmentationDataset, count: int | None = None) -> dict[str, Any]:
    """Return what identifies the samples of a data set, or its first ones, wherever they lie. Files are not read.

    It is their number, `samples`, the SHA-256 of their `names`, and `sha256`, that of names and sizes in bytes.
    """
    found, names = hashlib.sha256(), hashlib.sha256()
    length = len(dataset) if count is None else count
    for index in range(length):
        # A data set of a user may name files that are made later.
        sizes = [os.stat(path).st_size for path in dataset.files(index) if os.path.exists(path)]  # noqa: PTH110, PTH116 - Path is slower
        names.update(f"{dataset.name(index)}\n".encode(errors="surrogateescape"))
        found.update(f"{dataset.name(index)}\0{sizes}\n".encode(errors="surrogateescape"))
    return {"samples": length, "names": names.hexdigest(), "sha256": found.hexdigest()}
