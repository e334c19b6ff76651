"""The files of a prediction, one a format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.images import encoded, resize_image, resize_mask, write_mask
from data.labels import LabelSet
from inference.predictor import Prediction
from utils.files import atomic_path
from visualization.overlay import overlay, side_by_side, tinted

FOR_PEOPLE = 4096
"""Pixels that the longer side of an overlay has at most: of larger photos they are shrunk."""


def write_files(
    outputs: Mapping[str, Path],
    image: np.ndarray,
    found: Prediction,
    labels: LabelSet,
    own_ids: bool = False,
) -> None:
    """Writes what was asked for of a photo, each file whole or not at all.

    Args:
        outputs: format -> file.
        image: uint8 (H, W, 3).
        found: with what the formats need.
        own_ids: write the data set's own ids in place of class indices into the mask.

    Raises:
        UserError: a file cannot be written.
    """
    mask, uncertainty, probabilities = found
    for kind, path in outputs.items():
        with atomic_path(path) as temporary:
            if kind == "mask":
                write_ids(temporary, mask, labels, own_ids)
            elif kind == "color":
                # By OpenCV, blue first: Pillow would hold another four bytes a pixel.
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
    """Write a mask as a palette PNG, of class indices or of the data set's own ids, in the classes' colours.

    Ids above 255 are written as grey values of 16 bits.
    """
    if not own_ids or labels.ids is None:
        write_mask(path, mask, labels)
        return
    table = labels.id_table()
    if table.dtype == np.uint16:  # a palette has 256 colours at most
        Image.fromarray(table[mask]).save(path, format="PNG")
        return
    palette = np.zeros((256, 3), np.uint8)
    palette[table[: len(labels)][::-1]] = labels.colors[::-1]  # of classes with one id, the first one's colour
    picture = Image.fromarray(table[mask])
    picture.putpalette(palette.tobytes())
    path.write_bytes(encoded(picture, "PNG"))


def shrunk(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photo and its mask at a size that is pleasant to look at."""
    height, width = mask.shape
    scale = min(FOR_PEOPLE / max(height, width), 1.0)
    if scale == 1:
        return image, mask
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    return resize_image(image, size), resize_mask(mask, size)


def frame(kind: str, image: np.ndarray, mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """A frame of a video, uint8 (H, W, 3), RGB, or both beside each other, without a legend, which would jump."""
    if kind == "overlay":
        return tinted(image, mask, labels)
    colors = labels.painted(mask)
    return colors if kind == "color" else np.concatenate([image, colors], 1)
