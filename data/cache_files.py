"""Files in `datasets/.cache/`, which can be deleted at any time: their folder, their names, and arrays in them."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import PIL
import tifffile

from data.samples import SegmentationDataset, View
from utils.errors import UserError
from utils.files import atomic_path

log = logging.getLogger(__name__)


def cache_home() -> Path:
    """Return the folder."""
    return Path(os.environ.get("SEGMENTATION_DATA", "datasets"), ".cache")


def kept_arrays(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays from a file; make and write them if it is missing or damaged.

    Args:
        name: name of the file, without suffix. It must contain a hash of everything that the arrays depend on.
    """
    path = cache_home() / f"{name}.npz"
    try:
        with np.load(path) as kept:
            return dict(kept)
    except (OSError, ValueError, EOFError, BadZipFile):
        pass
    arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except (OSError, UserError) as error:
        log.info("%s cannot be kept, so the next start will take as long (%s)", path, error)
    return arrays


def cache_key(dataset: SegmentationDataset) -> str:
    """Return a hash of everything that affects the samples.

    That is the options of the data set and of views of it, the dates of files, the code, and the versions of the
    libraries that decode.
    """
    digest = hashlib.blake2b(digest_size=12)
    source = dataset
    while isinstance(source, View):
        source = source.dataset
    own = sys.modules[type(source).__module__].__file__
    for file in sorted({*Path(__file__).parent.glob("*.py"), *([Path(own)] if own else [])}):
        digest.update(file.read_bytes())
    digest.update(repr((cv2.__version__, PIL.__version__, tifffile.__version__)).encode())
    digest.update(pickle.dumps(dataset, protocol=4))
    for index in range(len(dataset)):
        for path in dataset.files(index):
            state = os.stat(path)  # noqa: PTH116 - for 100,000 files, Path takes longer than the system
            digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
