"""Segment photos to files, with reading, prediction and writing in parallel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.bands import saturated
from inference.pictures import write_files
from inference.pipeline import WriteBehind, read_ahead
from inference.plan import Photo, pixels
from inference.predictor import Prediction, Predictor
from utils.errors import Unreadable

log = logging.getLogger(__name__)

Warnings = dict[str, list[Path]]
"""Why photos seem to have another range of values than in training -> these photos."""
Result = np.ndarray | Unreadable
"""The mask of a photo, uint8 (H, W), or why it cannot be read."""
AT_ONCE = 2
"""Photos to predict at the same time on a CPU; more would take more memory."""


def segment(
    photos: Sequence[Photo],
    predictor: Predictor,
    *,
    own_ids: bool = False,
    after_photo: Callable[[np.ndarray | None], object] = lambda mask: None,
) -> list[Unreadable]:
    """Write the files of each photo, and return the errors of unreadable photos.

    Args:
        own_ids: as for `inference.pictures.write_files`.
        after_photo: called with each mask, uint8 (H, W), and with None for an unreadable photo.

    Raises:
        UserError: a file cannot be written.
    """
    together = predictor.in_threads and len(photos) > 1 and torch.get_num_threads() >= AT_ONCE
    broken, warnings = [], Warnings()
    for result in (_side_by_side if together else _in_turn)(photos, predictor, own_ids, warnings):
        if isinstance(result, Unreadable):
            broken.append(result)
            after_photo(None)
        else:
            after_photo(result)
    for reason, paths in warnings.items():
        log.warning("%s%s: %s", paths[0], f" and {len(paths) - 1} more" if len(paths) > 1 else "", reason)
    return broken


def _in_turn(photos: Sequence[Photo], predictor: Predictor, own_ids: bool, warnings: Warnings) -> Iterator[Result]:
    """Yield results photo by photo, while the next ones are read and the previous ones written."""
    read = partial(_read, predictor=predictor, warnings=warnings)
    with WriteBehind() as later:
        for photo, found in read_ahead(photos, read, lambda photo: pixels(photo.path)):
            if isinstance(found, Unreadable):
                yield found
                continue
            image, resized = found
            prediction = _predict(photo, image, resized, predictor)
            picture = predictor.bands.picture(image)
            write = partial(write_files, photo.outputs, picture, prediction, predictor.labels, own_ids)
            later(write, prediction.mask.size)
            yield prediction.mask


def _side_by_side(photos: Sequence[Photo], predictor: Predictor, own_ids: bool, warnings: Warnings) -> Iterator[Result]:
    """Yield results of threads that each read, predict and write a photo with a share of the cores.

    This is faster than all cores on one photo, since they would wait for each other in every layer.
    """

    def whole(photo: Photo) -> np.ndarray:
        image, resized = _read(photo, predictor, warnings)
        prediction = _predict(photo, image, resized, predictor)
        write_files(photo.outputs, predictor.bands.picture(image), prediction, predictor.labels, own_ids)
        return prediction.mask

    threads = torch.get_num_threads()
    torch.set_num_threads(threads // AT_ONCE)
    try:
        for _photo, found in read_ahead(photos, whole, lambda photo: pixels(photo.path), AT_ONCE + 1):
            yield found
    finally:
        torch.set_num_threads(threads)


def _read(photo: Photo, predictor: Predictor, warnings: Warnings) -> tuple[np.ndarray, Tensor | None]:
    image = predictor.bands.read(photo.path)
    if reason := predictor.bands.range_warning(float(image.max()), saturated(image)):
        warnings.setdefault(reason, []).append(photo.path)
    return image, predictor.resized(image)


def _predict(photo: Photo, image: np.ndarray, resized: Tensor | None, predictor: Predictor) -> Prediction:
    wanted = {kind: kind in photo.outputs for kind in ("uncertainty", "probabilities")}
    return predictor.predict_with(image, resized, **wanted)
