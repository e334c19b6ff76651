"""Photos to files, with reading, the network and writing at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from data.images import read_image
from engine.predictor import Predictor
from inference.pictures import write_files
from inference.pipeline import WriteBehind, read_ahead
from inference.plan import Photo, pixels
from utils.errors import UserError


def segment(
    photos: Sequence[Photo],
    predictor: Predictor,
    *,
    own_ids: bool = False,
    after_photo: Callable[[np.ndarray | None], object] = lambda mask: None,
) -> list[UserError]:
    """Writes what was asked for of each photo; returns why others could not be read.

    Args:
        own_ids: as `inference.pictures.write_files`.
        after_photo: is called with each mask, uint8 (H, W), and with None for a photo that cannot be read.

    Raises:
        UserError: a file cannot be written.
    """
    broken = []
    with WriteBehind() as later:
        for photo, image in read_ahead(photos, lambda photo: read_image(photo.path), lambda photo: pixels(photo.path)):
            if isinstance(image, UserError):
                broken.append(image)
                after_photo(None)
                continue
            if isinstance(image, Exception):
                raise image
            found = predictor.predict_with(image, uncertainty="uncertainty" in photo.outputs)
            probabilities = predictor.probabilities(image) if "probabilities" in photo.outputs else None
            write = partial(write_files, own_ids=own_ids, probabilities=probabilities, uncertainty=found.uncertainty)
            later(partial(write, photo.outputs, image, found.mask, predictor.labels), found.mask.size)
            after_photo(found.mask)
    return broken
