"""Photos to files, with reading, the network and writing at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

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
    broken: list[UserError] = []

    def read(photo: Photo) -> tuple[np.ndarray, Tensor | None]:
        image = read_image(photo.path)
        return image, predictor.resized(image)

    with WriteBehind() as later:
        for photo, found in read_ahead(photos, read, lambda photo: pixels(photo.path)):
            if isinstance(found, UserError):
                broken.append(found)
                after_photo(None)
                continue
            if isinstance(found, Exception):
                raise found
            image, resized = found
            wanted = {kind: kind in photo.outputs for kind in ("uncertainty", "probabilities")}
            prediction = predictor.predict_with(image, resized, **wanted)
            write = partial(write_files, photo.outputs, image, prediction, predictor.labels, own_ids)
            later(write, prediction.mask.size)
            after_photo(prediction.mask)
    return broken
