"""Reading, resizing and writing of photos and masks, the same everywhere.

OpenCV decodes photos. Pillow decodes masks, since OpenCV turns the indices of a palette PNG into
colours or grey values.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.labels import LabelSet
from utils.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# What the last bytes of a whole file hold; OpenCV fills up the rest of a truncated one in silence.
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}


def read_image(path: str | Path) -> np.ndarray:
    """A photo as uint8 (H, W, 3), RGB, turned as its EXIF orientation says.

    Raises:
        UserError: the file is missing, empty, truncated or not an image.
    """
    try:
        encoded = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not encoded:
        raise UserError(f"{path}: the file is empty (0 bytes)")
    last_part = encoded[max(encoded.rfind(b"\xff\xda"), 0) :]  # of a JPEG, past its thumbnail
    if _ENDINGS.get(encoded[:2], b"") not in last_part:
        raise UserError(f"{path}: the image is truncated; copy or download it again")
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UserError(f"{path}: not an image that can be read")
    return image


def read_mask(path: str | Path) -> np.ndarray:
    """The ids of a mask as uint8 (H, W): the indices of a palette PNG, or grey values.

    Raises:
        UserError: the file is missing, empty, truncated, a colour picture, or has ids above 255.
    """
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture)
    except FileNotFoundError as error:
        raise UserError(f"{path}: the mask is missing") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: the mask cannot be read ({error})") from error
    if mask.ndim != 2:
        raise UserError(f"{path}: the mask has {mask.shape[2]} channels; expected one channel of class ids")
    if mask.dtype != np.uint8:
        if mask.min() < 0 or mask.max() > 255:
            raise UserError(f"{path}: the mask has ids from {mask.min()} to {mask.max()}; expected 0 to 255")
        mask = mask.astype(np.uint8)
    return mask


def read_pair(image_path: Path, mask_path: Path, train_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photo uint8 (H, W, 3) and its mask uint8 (H, W), raw ids mapped to train ids.

    Args:
        train_ids: table of `data.labels.lookup_table`.

    Raises:
        UserError: a file is unreadable, the sizes differ, or the mask has an id that the table does not know.
    """
    image, raw = read_image(image_path), read_mask(mask_path)
    if image.shape[:2] != raw.shape:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (image, raw)]
        raise UserError(f"{image_path} is {sizes[0]} but its mask {mask_path} is {sizes[1]}")
    mask = train_ids[raw]
    if mask.min() < 0:
        unknown = ", ".join(str(i) for i in np.unique(raw[mask < 0]))
        raise UserError(f"{mask_path}: the mask has ids outside the label set: {unknown}")
    return image, mask.astype(np.uint8)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (*size, 3): averaged when it shrinks, bilinear when it grows."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) -> uint8 `size`, by nearest neighbour: averages of ids mean nothing."""
    height, width = size
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def write_mask(path: str | Path, mask: np.ndarray, labels: LabelSet) -> None:
    """Writes ids uint8 (H, W) as a palette PNG: the indices are the ids, the palette their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(labels.palette().tobytes())
    picture.save(path, format="PNG")
