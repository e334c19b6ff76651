"""Reading, resizing and writing of photos and masks, the same everywhere.

OpenCV decodes photos. Pillow decodes masks, since OpenCV turns the indices of a palette PNG into
colours or grey values.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data.labels import Color, LabelSet
from utils.errors import UnknownId, Unreadable
from utils.paths import read_bytes, refuse_special

with suppress(ImportError):  # an optional package, which teaches Pillow to read HEIC
    import pillow_heif

    pillow_heif.register_heif_opener()

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".gif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm"),
    *(suffix for suffix in (".avif", ".heic", ".heif") if suffix in Image.registered_extensions()),
)
PILLOW_FORMATS = tuple(name for name in ("GIF", "HEIF", "AVIF") if name in Image.OPEN)
"""What Pillow decodes where OpenCV does not: the other formats it would try include some that run programs."""
ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B")  # of Pillow's: pictures with one number a pixel
# What the last bytes of a whole file hold; OpenCV fills up the rest of a truncated one in silence.
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}


def read_image(path: str | Path) -> np.ndarray:
    """A photo as uint8 (H, W, 3), RGB, turned as its EXIF orientation says.

    Raises:
        Unreadable: the file is missing, empty, truncated or not an image.
    """
    try:
        encoded = read_bytes(path)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
    if not encoded:
        raise Unreadable(f"{path}: the file is empty (0 bytes)")
    last_part = encoded[max(encoded.rfind(b"\xff\xda"), 0) :]  # of a JPEG, past its thumbnail
    if _ENDINGS.get(encoded[:2], b"") not in last_part and _is_truncated(encoded):
        raise Unreadable(f"{path}: the image is truncated; copy or download it again")
    if encoded.startswith(b"GIF8"):  # OpenCV before 4.11 has no reader, and later ones lose pixels that are transparent
        return _read_with_pillow(encoded, path)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # a size beyond all bounds in its header, for one
        raise Unreadable(f"{path}: not an image that can be read ({error.err})") from error
    return image if image is not None else _read_with_pillow(encoded, path)


def _read_with_pillow(encoded: bytes, path: str | Path) -> np.ndarray:
    """The first frame of a picture in one of `PILLOW_FORMATS`, as `read_image`."""
    try:
        with Image.open(io.BytesIO(encoded), formats=PILLOW_FORMATS) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError as error:
        raise Unreadable(f"{path}: not an image that can be read") from error
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise Unreadable(f"{path}: the image is damaged or truncated; copy or download it again") from error


def _is_truncated(encoded: bytes) -> bool:
    """Whether Pillow misses something, which looks closer: what cameras append to a photo may hold any bytes."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            picture.load()
    except UnidentifiedImageError:  # OpenCV will say that it is none
        return False
    except Exception:  # what damaged bytes raise is not documented, and much
        return True
    return False


def stored_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture, which is not decoded.

    Raises:
        Unreadable: the file is missing or not a picture.
    """
    try:
        refuse_special(path)
        with Path(path).open("rb") as file:
            picture = _header(file)
            return picture.height, picture.width
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise Unreadable(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _header(file: BinaryIO) -> Image.Image:
    """A picture of any size: `Image.open` warns of large ones and refuses larger ones, for what decoding them takes."""
    Image.init()
    start = file.read(16)
    for read, accepts in list(Image.OPEN.values()):
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # what Image.open takes for another format
            if accepts is None or accepts(start) is True:
                file.seek(0)
                return read(file, "")
    raise UnidentifiedImageError("not a picture of a known format")


def read_mask(path: str | Path, colors: Mapping[Color, int] | None = None) -> np.ndarray:
    """The raw ids of a mask as uint8 (H, W).

    They are the indices of a palette picture, or grey values of 1, 8 or 16 bits. A colour picture is decoded by
    `colors`; transparency says nothing about a class and is left out.

    Args:
        colors: raw id of each colour.

    Raises:
        Unreadable: the file is missing, empty, truncated, or a colour picture without `colors`.
        UnknownId: a colour that `colors` does not have, or ids above 255.
    """
    try:
        # In one piece, where Pillow would read ten small ones.
        with Image.open(io.BytesIO(read_bytes(path))) as picture:
            if picture.mode == "F":
                raise ValueError("its values are fractions, not ids")
            if picture.mode not in ID_MODES:
                picture = picture.convert("L" if picture.mode == "LA" else "RGB")
            mask = np.asarray(picture)
    except FileNotFoundError as error:
        raise Unreadable(f"{path}: the mask is missing") from error
    except Exception as error:  # what damaged bytes raise is not documented, and much
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path}: the mask cannot be read ({reason})") from error
    if mask.ndim == 3:
        if colors is None:
            raise Unreadable(f"{path}: the mask has {mask.shape[2]} channels; expected one channel of class ids")
        return _ids_of_colors(mask, colors, path)
    if mask.dtype != np.uint8:
        if mask.min() < 0 or mask.max() > 255:
            raise UnknownId(f"{path}: the mask has ids from {mask.min()} to {mask.max()}; expected 0 to 255")
        mask = mask.astype(np.uint8)
    return mask


def _ids_of_colors(mask: np.ndarray, colors: Mapping[Color, int], path: str | Path) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (H, W)."""
    packed = pack_colors(mask)
    known = {(red << 16) + (green << 8) + blue: index for (red, green, blue), index in colors.items()}
    keys = np.array(sorted(known), np.int32)
    places = np.searchsorted(keys, packed).clip(max=len(keys) - 1)
    strange = packed[keys[places] != packed]
    if strange.size:
        color = int(strange[0])
        raise UnknownId(
            f"{path}: the mask has the colour ({color >> 16}, {color >> 8 & 255}, {color & 255}),"
            f" which is of no class, in {strange.size} pixels"
        )
    return np.array([known[int(key)] for key in keys], np.uint8)[places]


def pack_colors(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W), 0xRRGGBB."""
    red, green, blue = np.moveaxis(picture.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (*size, 3): averaged when it shrinks, bilinear when it grows."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) -> uint8 `size`, by nearest neighbour: averages of ids mean nothing."""
    if mask.shape == tuple(size):
        return mask
    rows, columns = (_nearest(*sides) for sides in zip(mask.shape, size, strict=True))
    return np.ascontiguousarray(mask[rows][:, columns])


def _nearest(length: int, size: int) -> np.ndarray:
    """The pixel, of `length`, whose centre is nearest to the centre of each of `size` pixels: int (size,).

    Where two are equally near, as everywhere when a side is halved, they take turns. OpenCV and Pillow take the second
    one each time, which moves a mask by a quarter of a pixel against its image.
    """
    place, rest = np.divmod((2 * np.arange(size) + 1) * length, 2 * size)
    place[np.flatnonzero(rest == 0)[::2]] -= 1
    return place


def write_mask(path: str | Path, mask: np.ndarray, labels: LabelSet) -> None:
    """Writes ids uint8 (H, W) as a palette PNG: the indices are the ids, the palette their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(labels.palette().tobytes())
    picture.save(path, format="PNG", compress_level=3)  # half the time, for a file that is hardly larger
