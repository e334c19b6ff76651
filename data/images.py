"""Read and resize photos, the same everywhere. OpenCV decodes them."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data import tiff
from data.quiet import quiet
from utils.errors import Unreadable
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
"""Formats that Pillow may decode. Some of the others that it knows run programs."""
PACKAGES = {
    **dict.fromkeys((".heic", ".heif"), "pip install pillow-heif to read it"),
    ".avif": "pip install --upgrade pillow to read it",
}
"""Further suffixes of photos, and what reads them."""
FTYP = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), ".heic"),
    **dict.fromkeys((b"avif", b"avis"), ".avif"),
}
"""Their suffix by what such a file holds from byte 8 on; cameras and chats also name them .jpg."""
ORIENTATION = 274  # the EXIF tag, also of TIFFs
LARGEST = 2**30  # pixels of a photo or mask; OpenCV's own limit
# What the end of a complete file holds. OpenCV fills the rest of a truncated one without a warning.
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
_EXIF_MARKS = {b"\xff\xd8": [b"Exif\0\0"], b"\x89P": [b"eXIf"], b"RI": [b"EXIF"]}  # of JPEG, PNG and WebP

Image.MAX_IMAGE_PIXELS = None  # one limit for photos and masks: Pillow's own refuses 179 million pixels
# Messages of decoders name no file. What matters is raised here, with the file.
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: str | Path) -> np.ndarray:
    """Read a photo as uint8 (H, W, 3), RGB, turned by its EXIF orientation.

    Values of 16 bits are divided by 256, negative ones become 0, and alpha is dropped.

    Raises:
        Unreadable: the file is missing, empty, truncated, not an image, or a TIFF with bands or values of no photo.
    """
    return decode_image(read_encoded(path), path)


def read_encoded(path: str | Path) -> bytes:
    """Return the bytes of a photo's file.

    Raises:
        Unreadable: it is missing, empty or truncated.
    """
    encoded = read_bytes(path)
    if not encoded:
        raise Unreadable(f"{path}: the file is empty (0 bytes)")
    facts = tiff.read_facts(encoded)
    cut = facts is not None and facts.end > len(encoded)
    last_part = encoded[max(encoded.rfind(b"\xff\xda"), 0) :]  # of a JPEG, past its thumbnail
    if cut or (_ENDINGS.get(encoded[:2], b"") not in last_part and _is_truncated(encoded)):
        raise Unreadable(f"{path}: the image is truncated; copy or download it again")
    return encoded


def decode_image(encoded: bytes, path: str | Path) -> np.ndarray:
    """Decode what `read_encoded` returned; errors as for `read_image`."""
    # Of GIFs, OpenCV loses pixels that are transparent, and it does not turn AVIFs.
    if encoded.startswith(b"GIF8") or encoded[4:8] == b"ftyp":
        return _read_with_pillow(encoded, path, PILLOW_FORMATS)
    facts = tiff.read_facts(encoded)
    image = decode(encoded, path) if facts is None else _photo_of_tiff(encoded, facts, path)
    return image if image is not None else _read_with_pillow(encoded, path, PILLOW_FORMATS)


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


def orientation(encoded: bytes) -> int:
    """Return the EXIF orientation of a photo or mask, 1 to 8.

    1 if there is none, or the file is a TIFF; 0 if it cannot be read.
    """
    marks = _EXIF_MARKS.get(encoded[:2], [b"Exif\0\0", b"irot", b"imir"])  # the others: of AVIF
    if encoded[:4] in tiff.MAGIC or not any(mark in encoded for mark in marks):
        return 1
    try:
        with quiet(), Image.open(io.BytesIO(encoded)) as picture:
            return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged bytes raise many undocumented exceptions
        return 0


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels (H, W, ...) by an EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def stored_size(path: str | Path, turned: bool = False) -> tuple[int, int]:
    """Return height and width of a picture without decoding it.

    Args:
        turned: as its EXIF orientation turns it, rather than as stored.

    Raises:
        Unreadable: the file is missing or not a picture.
    """
    try:
        refuse_special(path)
        with Image.open(path) as picture:
            # The tag of a PNG may follow its pixels, where Pillow looks only after it has decoded them.
            sideways = turned and orientation(read_bytes(path)) >= 5
            return (picture.width, picture.height) if sideways else (picture.height, picture.width)
    except UnidentifiedImageError as error:
        facts = tiff.read_facts(read_bytes(path))  # Pillow does not know TIFFs of several 16-bit bands
        if facts is None:
            raise Unreadable(f"{path}: cannot be read (not a picture of a known format)") from error
        return facts.size
    except Exception as error:  # damaged bytes raise many undocumented exceptions
        raise Unreadable(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) of bytes or floats to a size (H, W): averaged if it shrinks, bilinear if it grows."""
    height, width = size
    if image.shape[:2] == tuple(size):
        return image
    if image.shape[2] > 4:  # more than OpenCV averages at once
        parts = [resize_image(image[..., first : first + 4], size) for first in range(0, image.shape[2], 4)]
        return np.concatenate(parts, axis=2)
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(height, width, -1)  # OpenCV drops the axis of a single channel


def package_for(suffix: str) -> str:
    """Return how to install what reads photos of a suffix; '' if they can be read, or no package is known for them."""
    return "" if suffix in IMAGE_SUFFIXES else PACKAGES.get(suffix, "")


def encoded(picture: Image.Image, format: str, **options: Any) -> memoryview:
    """Return the bytes of a picture's file; `options` are those of Pillow's `save`.

    Write them with Python, since Pillow does not notice when a nearly full disk takes only a part of a file.
    """
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getbuffer()


def _read_with_pillow(encoded: bytes, path: str | Path, formats: tuple[str, ...]) -> np.ndarray:
    """Decode the first frame of a picture; errors as for `read_image`."""
    try:
        with quiet(), Image.open(io.BytesIO(encoded), formats=formats) as picture:
            if picture.width * picture.height > LARGEST:
                raise Unreadable(f"{path}: an image of more than {LARGEST:,} pixels")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError as error:
        suffix = FTYP.get(encoded[8:12], "") if encoded[4:8] == b"ftyp" else ""
        if needed := package_for(suffix):
            raise Unreadable(f"{path}: a photo in {suffix[1:].upper()}; {needed}, or save it as JPEG or PNG") from error
        raise Unreadable(f"{path}: not an image that can be read") from error
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes raise many undocumented exceptions
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
    image = decode(tiff.as_colors(encoded) if facts.is_rgb else encoded, path)
    if image is not None and facts.format == tiff.SIGNED:
        image[image > 127] = 0  # the upper half are the negative values, which OpenCV takes for large ones
    return image


def _is_truncated(encoded: bytes) -> bool:
    """Whether Pillow finds a file truncated. Its end alone does not tell, since cameras append data of any kind."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            picture.load()
    except UnidentifiedImageError:  # not an image, which decoding reports
        return False
    except Exception:  # damaged bytes raise many undocumented exceptions
        return True
    return False
