"""Masks that are coloured: what ids their colours or palettes stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.labels import Color
from utils.errors import UnknownId, Unreadable


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
        nearest, distances = _nearest(found, keys)
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
        f" which is of no class, in {strange.size} pixels"
        + ("; data.color_tolerance takes such colours for the nearest" if tolerance is not None else "")
    )


def _nearest(found: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest key of each colour 0xRRGGBB, and its distance; int64 and float64 (N,)."""
    one, other = (np.stack([c >> 16, c >> 8 & 255, c & 255], -1).astype(np.float32) for c in (found, keys))
    places, distances = np.empty(len(found), np.int64), np.empty(len(found))
    for first in range(0, len(found), 4096):
        some = slice(first, first + 4096)
        apart = np.linalg.norm(one[some, None] - other, axis=-1)
        places[some], distances[some] = apart.argmin(1), apart.min(1)
    return places, distances


def pack_colors(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W), 0xRRGGBB."""
    red, green, blue = np.moveaxis(picture.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def ids_of_palette(mask: np.ndarray, palette: Sequence[int], colors: Mapping[Color, int]) -> np.ndarray:
    """Raw ids (H, W) of a palette picture.

    These are its indices, whatever their colours, unless an index that occurs has the colour of another id: programs
    that reduce the colours of a picture number them anew. The colours decide then, if each of them is known.

    Args:
        mask: indices, uint8 (H, W).
        palette: red, green, blue of index 0, then of index 1 ...
        colors: raw id of each colour.

    Raises:
        ValueError: some indices have the colour of another id, others a colour of none.
    """
    table = [tuple(palette[i : i + 3]) for i in range(0, len(palette) - 2, 3)]
    ids = [colors.get((red, green, blue)) for red, green, blue in table]
    if all(known is None or known == index for index, known in enumerate(ids)):
        return mask
    used = [index for index in np.unique(mask).tolist() if index < len(table)]
    other = [index for index in used if ids[index] not in (None, index)]
    if not other or all(table[index] == (index,) * 3 for index in used):  # a ramp of grey says nothing
        return mask
    strange = [index for index in used if ids[index] is None]
    if strange:
        raise ValueError(
            f"index {other[0]} of its palette has the colour of id {ids[other[0]]}, but index {strange[0]} a colour of"
            f" no class, {table[strange[0]]}; save it in grey, or correct the colours of the palette or the labels"
        )
    largest = max(known or 0 for known in ids)
    return np.array([known or 0 for known in ids], np.uint16 if largest > 255 else np.uint8)[mask]


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
