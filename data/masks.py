"""Reading, resizing and writing of masks: ids, colours or palettes, to ids.

Pillow decodes masks, since OpenCV turns the indices of a palette PNG into colours or grey values.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data import tiff
from data.images import LARGEST, encoded, orientation, turned
from data.labels import IGNORE_INDEX, Color, LabelSet
from data.parts import GREY, Window, png_with_rows
from data.quiet import quiet
from utils.errors import UnknownId, Unreadable
from utils.paths import read_bytes
from utils.text import plural

ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B")  # of Pillow's: pictures with one number per pixel
COLOR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "LA", "La", "PA")
MASK_FORMATS = ("PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
LOSSY = "whose compression changes class ids; save the masks as PNG, from their source"
_SCALES = {2: 85, 4: 17}  # bits -> what Pillow multiplies grey values by


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
        near: `tolerance` of `ids_of_colors`.
        window: the part to return; None for all.

    Raises:
        Unreadable: the file is missing, empty, truncated, a colour picture without `colors`, or does not say which
            of its values are ids.
        UnknownId: a colour that `colors` does not have, or ids that 16 bits do not hold.
    """
    encoded = read_bytes(path)
    if window is not None:
        encoded = png_with_rows(encoded, window.top + window.height, GREY) or encoded
    try:
        with quiet():
            mask = turned(_pixels_of_mask(encoded, colors, near), orientation(encoded))
    except UnidentifiedImageError as error:
        raise Unreadable(f"{path}: the mask cannot be read (not a picture of a known format)") from error
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise Unreadable(f"{path}: the mask cannot be read ({error})") from error
    if mask.ndim == 3:
        mask = ids_of_colors(mask, colors, path, near)
    if window is not None:
        mask = window.of(mask)
    if mask.dtype in (np.uint8, bool):
        return mask.astype(np.uint8, copy=False)
    if mask.size and (mask.min() < 0 or mask.max() > 65535):
        raise UnknownId(f"{path}: the mask has ids from {mask.min()} to {mask.max()}; expected 0 to 65535")
    return mask.astype(np.uint8 if mask.max(initial=0) <= 255 else np.uint16)


def _pixels_of_mask(encoded: bytes, colors: Mapping[Color, int] | None, near: float | None) -> np.ndarray:
    """Numbers (H, W), or colours uint8 (H, W, 3), before the EXIF orientation of a PNG or WebP turns them."""
    facts, scale = tiff.read_facts(encoded), 1
    if lossy := _lossy_kind(encoded, facts):
        raise ValueError(f"it holds {lossy}, {LOSSY}")
    if facts is not None:
        reason = tiff.refusal(facts, encoded)
        if reason is None and facts.photometric == tiff.MIN_IS_WHITE and facts.bits > 1:
            reason = "0 is white in it (MinIsWhite), so that ids could be its values or their inverse; save it as PNG"
        if reason is not None:
            raise ValueError(reason)
        if facts.is_rgb:
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
            return ids_of_palette(np.asarray(picture), picture.getpalette() or [], colors, near)
        if picture.mode not in (*ID_MODES, *COLOR_MODES):
            raise ValueError(f"its pixels are neither ids nor red, green and blue, but {picture.mode}")
        if picture.mode in COLOR_MODES:
            picture = picture.convert("L" if picture.mode in ("LA", "La") else "RGB")
        mask = np.asarray(picture)
    if facts is not None and facts.format == tiff.SIGNED and mask.dtype == np.uint8:
        return mask.view(np.int8)
    return mask // scale if scale > 1 else mask  # Pillow stretches grey values of 2 and 4 bits to 8


def _lossy_kind(encoded: bytes, facts: tiff.TiffFacts | None) -> str | None:
    """Return in words what in a mask's file has been compressed with loss, whatever the file is called."""
    if encoded[:3] == b"\xff\xd8\xff" or (facts is not None and facts.jpeg):
        return "a JPEG"
    if encoded[:4] == b"RIFF":
        chunks = [encoded.find(b"VP8 "), encoded.find(b"VP8L")]  # the pixels of a WebP, with and without loss
        if chunks[0] > 0 and not 0 < chunks[1] < chunks[0]:
            return "a lossy WebP"
    return None


def _colors_of_tiff(encoded: bytes, facts: tiff.TiffFacts) -> np.ndarray:
    if facts.planar and facts.bits > 8:
        raise ValueError("its channels of 16 bits lie one after the other; save it with 8 bits")
    return eight_bits(cv2.imdecode(np.frombuffer(tiff.as_colors(encoded), np.uint8), cv2.IMREAD_UNCHANGED))


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


def ids_of_colors(
    mask: np.ndarray, colors: Mapping[Color, int] | None, path: str | Path, tolerance: float | None = None
) -> np.ndarray:
    """Raw ids (H, W) of colours uint8 (H, W, 3).

    Where a colour is of no class but all three channels are equal, these are the ids. With a tolerance they are ids
    only if all of them are in `colors`; otherwise they are colours between black and white.

    Args:
        colors: raw id of each colour; None where masks hold no colours.
        path: of the mask, for messages.
        tolerance: largest distance of red, green and blue (Euclidean) at which another colour is taken for the nearest
            known one; None if the user cannot set it.

    Raises:
        UnknownId: a colour that `colors` does not have.
        Unreadable: different channels without `colors`.
    """
    known = {red << 16 | green << 8 | blue: index for (red, green, blue), index in (colors or {}).items()}
    keys = np.array(sorted(known) or [-1], np.int32)
    packed = pack_colors(mask)
    places = np.searchsorted(keys, packed).clip(max=len(keys) - 1)
    unknown = keys[places] != packed
    is_grey = bool(unknown.any()) and bool((mask == mask[..., :1]).all())
    if tolerance and known and unknown.any() and not (is_grey and set(np.unique(mask).tolist()) <= {*known.values()}):
        found, where = np.unique(packed[unknown], return_inverse=True)
        nearest, distances = _nearest_keys(found, keys)
        near = (distances <= tolerance)[where]
        places[unknown] = np.where(near, nearest[where], places[unknown])
        unknown[unknown] = ~near
    strange = packed[unknown]
    if not strange.size:
        return np.array([known[int(key)] for key in keys], np.uint16 if max(known.values()) > 255 else np.uint8)[places]
    if is_grey:
        return np.ascontiguousarray(mask[..., 0])
    if colors is None:
        raise Unreadable(f"{path}: the mask has {mask.shape[2]} channels; expected one channel of class ids")
    color = int(strange[0])
    raise UnknownId(
        f"{path}: the mask has the colour ({color >> 16}, {color >> 8 & 255}, {color & 255}),"
        f" which is of no class, in {plural(strange.size, 'pixel')}"
        + ("; data.color_tolerance takes such colours for the nearest" if tolerance is not None else "")
    )


def _nearest_keys(found: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest key of each colour 0xRRGGBB, and its distance; int64 and float64 (N,)."""
    from scipy.spatial import KDTree  # slow to import

    one, other = (np.stack([c >> 16, c >> 8 & 255, c & 255], -1) for c in (found, keys))
    distances, places = KDTree(other).query(one)
    return places, distances


def pack_colors(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W), 0xRRGGBB."""
    red, green, blue = np.moveaxis(picture.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def ids_of_palette(
    mask: np.ndarray, palette: Sequence[int], colors: Mapping[Color, int], tolerance: float | None = None
) -> np.ndarray:
    """Raw ids (H, W) of a palette picture.

    These are its indices, whatever their colours, unless the palette says otherwise: programs that reduce the colours
    of a picture renumber them. If an index that occurs has the colour of another id, the colours decide, if each of
    them is known. If all of them are grey, and ids, they are what the mask had as a grey picture.

    Args:
        mask: indices, uint8 (H, W).
        palette: red, green, blue of index 0, then of index 1 ...
        colors: raw id of each colour.
        tolerance: as of `ids_of_colors`.

    Raises:
        ValueError: some indices have the colour of another id, others a colour of none.
    """
    table = [(palette[i], palette[i + 1], palette[i + 2]) for i in range(0, len(palette) - 2, 3)]
    counts = np.bincount(mask.ravel(), minlength=256)
    used = [index for index in np.flatnonzero(counts).tolist() if index < len(table)]
    ids = {index: _id_of(table[index], colors, tolerance) for index in used}
    other = [index for index in used if ids[index] not in (None, index)]
    strange = [index for index in used if ids[index] is None]
    greys = {index: table[index][0] for index in used if len(set(table[index])) == 1}
    if all(greys.get(index) == index for index in used):  # a ramp of grey says nothing
        return mask
    if strange and len(greys) == len(used) and {*greys.values()} <= {*colors.values(), IGNORE_INDEX}:
        return _mapped(mask, greys)
    if not other:
        return mask
    if strange:
        raise ValueError(
            f"index {other[0]} of its palette has the colour of id {ids[other[0]]}, but index {strange[0]} a colour of"
            f" no class, {table[strange[0]]}; save it in grey, or correct the colours of the palette or the labels"
        )
    return _mapped(mask, ids)


def _id_of(color: Color, colors: Mapping[Color, int], tolerance: float | None) -> int | None:
    """Return the raw id of a colour or, with a tolerance, of the nearest."""
    if color in colors or not tolerance:
        return colors.get(color)
    nearest = min(colors, key=lambda known: math.dist(known, color))
    return colors[nearest] if math.dist(nearest, color) <= tolerance else None


def _mapped(mask: np.ndarray, ids: Mapping[int, int | None]) -> np.ndarray:
    """Return the raw id of each index (H, W) of a palette."""
    table = np.zeros(256, np.uint16 if max(known or 0 for known in ids.values()) > 255 else np.uint8)
    for index, known in ids.items():
        table[index] = known or 0
    return table[mask]


def eight_bits(mask: np.ndarray | None) -> np.ndarray:
    """Colours (H, W, 3 or 4) of 8 or 16 bits, blue first -> uint8 (H, W, 3), red first."""
    if mask is None:
        raise ValueError("not a picture of a known format")
    rgb = mask[..., 2::-1]
    if rgb.dtype == np.uint8:
        return rgb
    if rgb.dtype != np.uint16 or (rgb.max() > 255 and (rgb % 257).any()):  # 257: from 255 to 65535
        raise ValueError("its colours are not of 8 bits; save it with 8 bits, unsigned")
    return (rgb if rgb.max() <= 255 else rgb // 257).astype(np.uint8)
