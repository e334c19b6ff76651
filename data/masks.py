"""Read, resize and write masks. They are read as ids, whether files hold ids, colours or a palette.

Pillow decodes masks, since OpenCV turns the indices of a palette PNG into colours or grey values.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data import tiff
from data.images import LARGEST, encoded, orientation, turned
from data.labels import Color, LabelSet
from data.mask_colors import color_table, ids_of_colors, ids_of_palette
from data.parts import GREY, Box, png_with_rows
from data.quiet import quiet
from utils.errors import UnknownId, Unreadable
from utils.paths import read_bytes

ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B")  # of Pillow's: pictures with one number per pixel
COLOR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "LA", "La", "PA")
MASK_FORMATS = ("PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".avif", ".heic", ".heif")
LOSSY = "whose compression changes class ids; save the masks as PNG, from their source"
_SCALES = {2: 85, 4: 17}  # bits -> what Pillow multiplies grey values by


def read_mask(
    path: str | Path,
    colors: Mapping[Color, int] | None = None,
    tolerance: float | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Read the raw ids of a mask, uint8 (H, W), or uint16 if there are ids above 255.

    Ids are grey values of 1 to 16 bits, in one channel or in three equal ones, or the indices of a palette. Colours are
    looked up in `colors`; so are those of a palette if they belong to other ids than its indices. Alpha is dropped.

    Args:
        colors: raw id of each colour.
        tolerance: as for `ids_of_colors`.
        box: the part to return; None for all.

    Raises:
        Unreadable: the file is missing, empty, truncated, in colours without `colors`, or ambiguous.
        UnknownId: a colour is not in `colors`, or an id does not fit into 16 bits.
    """
    mask = read_pixels(path, colors, tolerance, box)
    if mask.ndim == 3:
        mask = ids_of_colors(mask, colors, path, tolerance)
    if box is not None:
        mask = box.of(mask)
    if mask.dtype in (np.uint8, bool):
        return mask.astype(np.uint8, copy=False)
    if mask.size and (mask.min() < 0 or mask.max() > 65535):
        raise UnknownId(f"{path}: the mask has ids from {mask.min()} to {mask.max()}; expected 0 to 65535")
    return mask.astype(np.uint8 if mask.max(initial=0) <= 255 else np.uint16)


def read_pixels(
    path: str | Path,
    colors: Mapping[Color, int] | None = None,
    tolerance: float | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Read a mask as `read_mask` does, but return colours as they are, uint8 (H, W, 3).

    With a box, the whole mask is returned, or only the rows down to the end of the box.
    """
    encoded = read_bytes(path)
    if box is not None:
        encoded = png_with_rows(encoded, box.top + box.height, GREY) or encoded
    try:
        with quiet():
            return turned(_pixels_of_mask(encoded, colors, tolerance), orientation(encoded))
    except UnidentifiedImageError as error:
        raise Unreadable(f"{path}: the mask cannot be read (not a picture of a known format)") from error
    except Exception as error:  # damaged bytes raise many undocumented exceptions
        raise Unreadable(f"{path}: the mask cannot be read ({error})") from error


def palette_of(path: str | Path) -> list[Color] | None:
    """Return the colours of a palette picture without decoding it; None for other files."""
    try:
        with quiet(), Image.open(path, formats=MASK_FORMATS) as picture:
            return color_table(picture.getpalette() or []) if picture.mode == "P" else None
    except Exception:  # damaged bytes raise undocumented exceptions; whoever reads the mask reports it
        return None


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask uint8 (H, W) to a size (H, W) by nearest neighbour."""
    if mask.shape == tuple(size):
        return mask
    rows, columns = (_nearest(*sides) for sides in zip(mask.shape, size, strict=True))
    return mask.take(columns, axis=1).take(rows, axis=0)


def write_mask(path: str | Path, mask: np.ndarray, labels: LabelSet) -> None:
    """Write ids uint8 (H, W) as a palette PNG: the indices are the ids, the palette their colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(labels.palette().tobytes())
    Path(path).write_bytes(encoded(picture, "PNG", compress_level=3))  # half the time, for a file hardly larger


def _pixels_of_mask(encoded: bytes, colors: Mapping[Color, int] | None, tolerance: float | None) -> np.ndarray:
    """Return ids (H, W), or colours uint8 (H, W, 3), not yet turned by the EXIF orientation of a PNG or WebP."""
    facts, scale = tiff.read_facts(encoded), 1
    if lossy := _lossy_kind(encoded, facts):
        raise ValueError(f"it holds {lossy}, {LOSSY}")
    if facts is not None:
        if reason := tiff.refusal(facts, encoded):
            raise ValueError(reason)
        # Programs that compress as fax machines do invert the values, too.
        if facts.photometric == tiff.MIN_IS_WHITE and facts.compression not in tiff.FAX:
            raise ValueError(
                "0 is white in it (MinIsWhite), so that ids could be its values or their inverse; save it as PNG"
            )
        if facts.is_rgb:
            return _colors_of_tiff(encoded, facts)
        scale = _SCALES.get(facts.bits, 1) if facts.is_grey else 1
    elif encoded[:4] == b"\x89PNG":
        depth, kind = encoded[24:26]
        if depth == 16 and kind != 0:
            return _eight_bits(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED))
        scale = _SCALES.get(depth, 1) if kind == 0 else 1
    with Image.open(io.BytesIO(encoded), formats=MASK_FORMATS) as picture:
        if picture.width * picture.height > LARGEST:
            raise ValueError(f"it has {picture.width}x{picture.height} pixels, more than {LARGEST:,}")
        if facts is None and getattr(picture, "n_frames", 1) > 1:  # of a TIFF, the others are smaller versions
            raise ValueError(f"it has {picture.n_frames} frames; which of them is the mask? save that one as PNG")
        if picture.mode == "P" and colors is not None:
            return ids_of_palette(np.asarray(picture), picture.getpalette() or [], colors, tolerance)
        if picture.mode not in (*ID_MODES, *COLOR_MODES):
            raise ValueError(f"its pixels are neither ids nor red, green and blue, but {picture.mode}")
        if picture.mode in COLOR_MODES:
            picture = picture.convert("L" if picture.mode in ("LA", "La") else "RGB")
        mask = np.asarray(picture)
    if facts is not None and facts.format == tiff.SIGNED and mask.dtype == np.uint8:
        return mask.view(np.int8)
    return mask // scale if scale > 1 else mask  # Pillow stretches grey values of 2 and 4 bits to 8


def _lossy_kind(encoded: bytes, facts: tiff.TiffFacts | None) -> str | None:
    """Return the lossy format of a file in words, whatever its suffix; None if the file is lossless."""
    if encoded[:3] == b"\xff\xd8\xff" or (facts is not None and facts.compression in tiff.JPEG):
        return "a JPEG"
    if encoded[:4] == b"RIFF":
        chunks = [encoded.find(b"VP8 "), encoded.find(b"VP8L")]  # the pixels of a WebP, with and without loss
        if chunks[0] > 0 and not 0 < chunks[1] < chunks[0]:
            return "a lossy WebP"
    return None


def _colors_of_tiff(encoded: bytes, facts: tiff.TiffFacts) -> np.ndarray:
    if facts.planar and facts.bits > 8:
        raise ValueError("its channels of 16 bits lie one after the other; save it with 8 bits")
    return _eight_bits(cv2.imdecode(np.frombuffer(tiff.as_colors(encoded), np.uint8), cv2.IMREAD_UNCHANGED))


def _nearest(length: int, size: int) -> np.ndarray:
    """Return, for each of `size` pixels, which of `length` pixels has the nearest centre: int (size,).

    If two are equally near, as everywhere when a side is halved, they take turns. OpenCV and Pillow always take the
    second, which moves a mask by a quarter of a pixel against its image.
    """
    place, rest = np.divmod((2 * np.arange(size) + 1) * length, 2 * size)
    place[np.flatnonzero(rest == 0)[::2]] -= 1
    return place


def _eight_bits(mask: np.ndarray | None) -> np.ndarray:
    """Convert colours (H, W, 3 or 4) of 8 or 16 bits from OpenCV, blue first, to uint8 (H, W, 3), red first."""
    if mask is None:
        raise ValueError("not a picture of a known format")
    rgb = mask[..., 2::-1]
    if rgb.dtype == np.uint8:
        return rgb
    if rgb.dtype != np.uint16 or (rgb.max() > 255 and (rgb % 257).any()):  # 257: from 255 to 65535
        raise ValueError("its colours are not of 8 bits; save it with 8 bits, unsigned")
    return (rgb if rgb.max() <= 255 else rgb // 257).astype(np.uint8)
