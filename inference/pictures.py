"""Write the files of a prediction, one per format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.fitting import shrunk_size
from data.images import encoded, resize_image
from data.labels import LabelSet
from data.masks import resize_mask, write_mask
from inference.predictor import Prediction
from utils.files import atomic_path
from visualization.overlay import overlay, side_by_side, tinted

LARGEST_OVERLAY = 4096
"""Maximum pixels of the longer side of an overlay; those of larger photos are shrunk."""


def write_files(
    outputs: Mapping[str, Path], image: np.ndarray, found: Prediction, labels: LabelSet, own_ids: bool = False
) -> None:
    """Write the files of a photo, each completely or not at all.

    Args:
        outputs: format -> file.
        image: uint8 (H, W, 3), RGB.
        found: the prediction, with uncertainty and probabilities if a format needs them.
        own_ids: write the data set's own ids to the mask instead of class indices.

    Raises:
        UserError: a file cannot be written.
    """
    mask, uncertainty, probabilities = found
    for kind, path in outputs.items():
        with atomic_path(path) as temporary:
            if kind == "mask":
                write_ids(temporary, mask, labels, own_ids)
            elif kind == "color":
                # OpenCV expects BGR. Pillow would take another four bytes per pixel.
                blue_first = LabelSet(labels.names, tuple((b, g, r) for r, g, b in labels.colors)).painted(mask)
                temporary.write_bytes(cv2.imencode(".png", blue_first, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].data)
            elif kind in ("overlay", "side_by_side"):
                draw = overlay if kind == "overlay" else side_by_side
                temporary.write_bytes(encoded(draw(*shrunk(image, mask), labels), "PNG", compress_level=1))
            elif kind == "uncertainty" and uncertainty is not None:
                grey = np.rint(uncertainty * 255).clip(0, 255).astype(np.uint8)
                temporary.write_bytes(encoded(Image.fromarray(grey), "PNG"))
            elif kind == "probabilities" and probabilities is not None:
                with temporary.open("wb") as file:
                    np.savez(file, probabilities=probabilities.astype(np.float16), classes=np.array(labels.names))


def write_ids(path: Path, mask: np.ndarray, labels: LabelSet, own_ids: bool) -> None:
    """Write a mask as a palette PNG in the classes' colours, with class indices or the data set's own ids.

    If there are ids above 255, write a 16-bit grey PNG.
    """
    if not own_ids or labels.ids is None:
        write_mask(path, mask, labels)
        return
    table = labels.id_table()
    if table.dtype == np.uint16:  # a palette has 256 colours at most
        path.write_bytes(encoded(Image.fromarray(table[mask]), "PNG"))
        return
    palette = np.zeros((256, 3), np.uint8)
    palette[table[: len(labels)][::-1]] = labels.colors[::-1]  # if classes share an id, the colour of the first
    picture = Image.fromarray(table[mask])
    picture.putpalette(palette.tobytes())
    path.write_bytes(encoded(picture, "PNG"))


def shrunk(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo and its mask, shrunk to at most `LARGEST_OVERLAY` pixels on the longer side."""
    size = shrunk_size((mask.shape[0], mask.shape[1]), (LARGEST_OVERLAY, LARGEST_OVERLAY))
    return resize_image(image, size), resize_mask(mask, size)


def frame(kind: str, image: np.ndarray, mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Return a frame for a video, uint8 (H, W, 3), RGB, without a legend, which would change from frame to frame."""
    if kind == "overlay":
        return tinted(image, mask, labels)
    colors = labels.painted(mask)
    return colors if kind == "color" else np.concatenate([image, colors], 1)
