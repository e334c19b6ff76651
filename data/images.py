"""Reading, resizing and writing of photos and masks, the same everywhere.

OpenCV decodes photos. Pillow decodes masks, since OpenCV turns the indices of a palette PNG into
colours or grey values.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data import tiff
from data.labels import Color, LabelSet
from data.mask_colors import eight_bits, ids_of_colors, ids_of_palette
from data.parts import GREY, Window, png_with_rows
from data.quiet import quiet
from utils.errors import UnknownId, Unreadable
from utils.paths import read_bytes, refuse_special

with suppress(ImportError):  # an optional package, which teaches Pillow to read HEIC
    import pillow_heif

    pillow_heif.register_heif_opener()

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".gif", ".jp2", ".j2k", ".mpo", ".ppm", ".pgm", ".pbm"),
    *(suffix for suffix in (".avif", ".heic", ".heif") if suffix in Image.registered_extensions()),
)
PILLOW_FORMATS = tuple(name for name in ("GIF", "HEIF", "AVIF") if name in Image.OPEN)
"""What Pillow decodes where OpenCV does not: the other formats it would try include some that run programs."""
ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B")  # of Pillow's: pictures with one number per pixel
COLOR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "LA", "La", "PA")
MASK_FORMATS = ("PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG", "PPM")
LARGEST = 2**30  # pixels of a photo or mask; OpenCV's own limit
# What the last bytes of a whole file hold; OpenCV fills up the rest of a truncated one in silence.
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
_SCALES = {2: 85, 4: 17}  # bits -> what Pillow multiplies grey values by

Image.MAX_IMAGE_PIXELS = None  # one limit for photos and masks: Pillow's own refuses 179 million pixels
# Messages of decoders name no file. What matters is raised here, with the file.
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: str | Path) -> np.ndarray:
    """Read a photo as uint8 (H, W, 3), RGB, turned as its EXIF orientation says.

    16 bits are divided by 256. Negative values are black. Transparency is left out.

    Raises:
        Unreadable: the file is missing, empty, truncated, not an image, or a TIFF whose bands or values are not those
            of a photo.
    """
    encoded = read_content(path)
    check_whole(encoded, path)
    if encoded.startswith(b"GIF8"):  # OpenCV before 4.11 has no reader, and later ones lose pixels that are transparent
        return _read_with_pillow(encoded, path, PILLOW_FORMATS)
    facts = tiff.read_facts(encoded)
    image = decode(encoded, path) if facts is None else _photo_of_tiff(encoded, facts, path)
    return image if image is not None else _read_with_pillow(encoded, path, PILLOW_FORMATS)


def read_content(path: str | Path) -> bytes:
    """Return the bytes of a photo's file.

    Raises:
        Unreadable: it is missing or empty.
    """
    try:
        encoded = read_bytes(path)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
    if not encoded:
        raise Unreadable(f"{path}: the file is empty (0 bytes)")
    return encoded


def check_whole(encoded: bytes, path: str | Path) -> None:
    """Check that a photo's file is not truncated.

    Raises:
        Unreadable: it is.
    """
    facts = tiff.read_facts(encoded)
    cut = facts is not None and facts.end > len(encoded)
    last_part = encoded[max(encoded.rfind(b"\xff\xda"), 0) :]  # of a JPEG, past its thumbnail
    if cut or (_ENDINGS.get(encoded[:2], b"") not in last_part and _is_truncated(encoded)):
        raise Unreadable(f"{path}: the image is truncated; copy or download it again")


def decode(encoded: bytes, path: str | Path, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray | None:
    """Decode a photo with OpenCV; None if it cannot.

    Raises:
        Unreadable: it is larger than OpenCV's limit.
    """
    try:
        with quiet():
            return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:  # a size beyond all bounds in its header, for one
        raise Unreadable(f"{path}: not an image that can be read, or of more than {LARGEST:,} pixels") from error


def _read_with_pillow(encoded: bytes, path: str | Path, formats: tuple[str, ...]) -> np.ndarray:
    """The first frame of a picture in one of some formats, as `read_image`."""
    try:
        with quiet(), Image.open(io.BytesIO(encoded), formats=formats) as picture:
            if picture.width * picture.height > LARGEST:
                raise Unreadable(f"{path}: an image of more than {LARGEST:,} pixels")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError as error:
        raise Unreadable(f"{path}: not an image that can be read") from error
    except Unreadable:
        raise
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise Unreadable(f"{path}: the image is damaged or truncated; copy or download it again") from error


def _photo_of_tiff(encoded: bytes, facts: tiff.TiffFacts, path: str | Path) -> np.ndarray | None:
    reason = tiff.refusal(facts, encoded)
    if reason is None and facts.bits > 16:
        reason = f"its values have {facts.bits} bits; save it with 8 or 16 bits, unsigned"
    if reason is not None:
        pages = facts.pictures > 1
        channels = facts.pictures if pages else facts.bands
        # Three channels of bytes are RGB, which is not what pages are.
        range_key = "" if facts.bits == 8 and not (pages and channels == 3) else " data.value_range=[low,high]"
        hint = (
            f"; or train on {'its pages as bands' if pages else 'it as it is'} with data.channels={channels}{range_key}"
        )
        raise Unreadable(f"{path}: {reason}{hint if not pages or facts.bands == 1 else ''}")
    if facts.colors == 1 and facts.bits in (2, 4):  # OpenCV reads none of them
        return _read_with_pillow(encoded, path, ("TIFF",))
    image = decode(tiff.as_colors(encoded) if facts.colors == 3 and _are_colors(facts) else encoded, path)
    if image is not None and facts.format == tiff.SIGNED:
        image[image > 127] = 0  # the upper half are the negative values, which OpenCV takes for large ones
    return image


def _are_colors(facts: tiff.TiffFacts) -> bool:
    """Whether three bands are red, green and blue: GDAL tags them as grey unless they have 8 bits."""
    return facts.is_grey or facts.photometric == tiff.RGB


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
    """Height and width of a picture, which is not decoded, before its EXIF orientation turns it.

    Raises:
        Unreadable: the file is missing or not a picture.
    """
    try:
        refuse_special(path)
        with Image.open(path) as picture:
            return picture.height, picture.width
    except UnidentifiedImageError as error:
        facts = tiff.read_facts(read_bytes(path))  # Pillow knows no TIFFs of several bands of 16 bits
        if facts is None:
            raise Unreadable(f"{path}: cannot be read (not a picture of a known format)") from error
        return facts.size
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise Unreadable(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def read_mask(
    path: str | Path,
    colors: Mapping[Color, int] | None = None,
    near: float | None = None,
    window: Window | None = None,
) -> np.ndarray:
    """Read the raw ids of a mask as uint8 (H, W), or as uint16 where there are ids above 255.

    They are grey values of 1 to 16 bits, or three equal channels of them; the indices of a palette picture; or what
    `colors` says of the colours. A palette whose colours belong to other ids than its indices is decoded by its
    colours. Transparency says nothing about a class and is left out.

    Args:
        colors: raw id of each colour.
        near: `tolerance` of `data.mask_colors.ids_of_colors`.
        window: the part to return; None for all.

    Raises:
        Unreadable: the file is missing, empty, truncated, a colour picture without `colors`, or does not say which
            of its values are ids.
        UnknownId: a colour that `colors` does not have, or ids that 16 bits do not hold.
    """
    try:
        encoded = read_bytes(path)
        if window is not None:
            encoded = png_with_rows(encoded, window.top + window.height, GREY) or encoded
        with quiet():
            mask = _pixels_of_mask(encoded, colors)
    except FileNotFoundError as error:
        raise Unreadable(f"{path}: the mask is missing") from error
    except UnidentifiedImageError as error:
        raise Unreadable(f"{path}: the mask cannot be read (not a picture of a known format)") from error
    except Exception as error:  # what damaged bytes raise is not documented, and much
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path}: the mask cannot be read ({reason})") from error
    if mask.ndim == 3:
        mask = ids_of_colors(mask, colors, path, near)
    if window is not None:
        mask = window.of(mask)
    if mask.dtype in (np.uint8, bool):
        return mask.astype(np.uint8, copy=False)
    if mask.size and (mask.min() < 0 or mask.max() > 65535):
        raise UnknownId(f"{path}: the mask has ids from {mask.min()} to {mask.max()}; expected 0 to 65535")
    return mask.astype(np.uint8 if mask.max(initial=0) <= 255 else np.uint16)


def _pixels_of_mask(encoded: bytes, colors: Mapping[Color, int] | None) -> np.ndarray:
    """Numbers (H, W), or colours uint8 (H, W, 3)."""
    facts, scale = tiff.read_facts(encoded), 1
    if facts is not None:
        reason = tiff.refusal(facts, encoded)
        if reason is None and facts.photometric == tiff.MIN_IS_WHITE and facts.bits > 1:
            reason = "0 is white in it (MinIsWhite), so that ids could be its values or their inverse; save it as PNG"
        if reason is not None:
            raise ValueError(reason)
        if facts.colors == 3 and _are_colors(facts):
            return _colors_of_tiff(encoded, facts)
        scale = _SCALES.get(facts.bits, 1) if facts.is_grey else 1
    elif encoded[:4] == b"\x89PNG":
        depth, kind = encoded[24:26]
        if depth == 16 and kind != 0:
            return eight_bits(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED))
        scale = _SCALES.get(depth, 1) if kind == 0 else 1
    with Image.open(io.BytesIO(encoded), formats=MASK_FORMATS) as picture:
        if picture.width * picture.height > LARGEST:
            raise ValueError(f"it has {picture.width}x{picture.height} pixels, more than {LARGEST:,}")
        if picture.mode == "P" and colors is not None:
            return ids_of_palette(np.asarray(picture), picture.getpalette() or [], colors)
        if picture.mode not in (*ID_MODES, *COLOR_MODES):
            raise ValueError(f"its pixels are neither ids nor red, green and blue, but {picture.mode}")
        if picture.mode in COLOR_MODES:
            picture = picture.convert("L" if picture.mode in ("LA", "La") else "RGB")
        mask = np.asarray(picture)
    if facts is not None and facts.format == tiff.SIGNED and mask.dtype == np.uint8:
        return mask.view(np.int8)
    return mask // scale if scale > 1 else mask  # Pillow stretches grey values of 2 and 4 bits to 8


def _colors_of_tiff(encoded: bytes, facts: tiff.TiffFacts) -> np.ndarray:
    if facts.planar and facts.bits > 8:
        raise ValueError("its channels of 16 bits lie one after the other; save it with 8 bits")
    return eight_bits(cv2.imdecode(np.frombuffer(tiff.as_colors(encoded), np.uint8), cv2.IMREAD_UNCHANGED))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) -> (*size, C), of bytes or floats: averaged when it shrinks, bilinear when it grows."""
    height, width = size
    if image.shape[:2] == tuple(size):
        return image
    if image.shape[2] > 4:  # more than OpenCV averages at once
        parts = [resize_image(image[..., first : first + 4], size) for first in range(0, image.shape[2], 4)]
        return np.concatenate(parts, axis=2)
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(height, width, -1)  # OpenCV drops the axis of a single channel


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
    """Write ids uint8 (H, W) as a palette PNG: the indices are the ids, the palette their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(labels.palette().tobytes())
    Path(path).write_bytes(encoded(picture, "PNG", compress_level=3))  # half the time, for a file hardly larger


def encoded(picture: Image.Image, format: str, **options: Any) -> memoryview:
    """The bytes of a picture's file; `options` are those of Pillow's `save`.

    Pillow itself does not notice when a disk that is nearly full takes only a part of what it writes.
    """
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getbuffer()
