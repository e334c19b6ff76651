"""Convert the colours and palettes of masks to ids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.labels import IGNORE_INDEX, Color
from utils.errors import UnknownId, Unreadable
from utils.text import plural

MOST_COLORS = 1000
"""A picture with more unknown colours, on more than half of its pixels, is a photo rather than a mask."""


def ids_of_colors(
    mask: np.ndarray, colors: Mapping[Color, int] | None, path: str | Path, tolerance: float | None = None
) -> np.ndarray:
    """Return the raw ids (H, W) of colours uint8 (H, W, 3).

    If a colour is unknown and all pixels are grey, the grey values are the ids. With a tolerance, they are ids only if
    all of them are in `colors`, and otherwise colours between black and white.

    Args:
        colors: raw id of each colour; None where masks hold no colours.
        path: path of the mask, for messages.
        tolerance: largest Euclidean distance in RGB at which another colour counts as the nearest known one; None if
            the user cannot set it.

    Raises:
        UnknownId: a colour is not in `colors`.
        Unreadable: the channels differ, and `colors` is None.
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
    color, advice = int(strange[0]), ""
    different = np.unique(strange)
    if len(different) > MOST_COLORS and 2 * strange.size > packed.size:
        raise UnknownId(
            f"{path}: this is a photo rather than a mask, with {len(different):,} unknown colours; are the folders"
            " of images and masks swapped?"
        )
    swapped = (different & 255) << 16 | different & 0xFF00 | different >> 16
    if np.isin(swapped, keys).all():
        advice = "; its colours belong to classes if it was saved as blue, green, red: save it as red, green, blue"
    elif tolerance is not None:
        needed = math.ceil(_nearest_keys(different, keys)[1].max())
        advice = (
            f"; name it in the labels, or data.color_tolerance={needed} maps the colours of this mask to the nearest"
        )
    raise UnknownId(
        f"{path}: the mask has the colour ({color >> 16}, {color >> 8 & 255}, {color & 255}),"
        f" which belongs to no class, in {plural(strange.size, 'pixel')}" + advice
    )


def pack_colors(picture: np.ndarray) -> np.ndarray:
    """Convert colours uint8 (H, W, 3) to numbers 0xRRGGBB, int32 (H, W)."""
    red, green, blue = np.moveaxis(picture.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def ids_of_palette(
    mask: np.ndarray, palette: Sequence[int], colors: Mapping[Color, int], tolerance: float | None = None
) -> np.ndarray:
    """Return the raw ids (H, W) of a palette picture.

    Usually these are its indices. But programs that reduce the colours of a picture renumber them: if an index in use
    has the colour of another id, the colours decide, provided that all of them are known. If all colours in use are
    grey, and ids, they are what the mask held as a grey picture.

    Args:
        mask: indices, uint8 (H, W).
        palette: red, green, blue of index 0, then of index 1 ...
        colors: raw id of each colour.
        tolerance: as for `ids_of_colors`.

    Raises:
        ValueError: some indices have the colour of another id, others a colour that belongs to no id, or none.
    """
    table = color_table(palette)
    known = {index: colors[color] for index, color in enumerate(table) if color in colors}
    is_colored = any(len(set(color)) > 1 for color in table)
    if known and is_colored and not tolerance and all(index == raw for index, raw in known.items()):
        return mask  # the palette of the labels: counting its pixels would take half as long as decoding
    counts = np.bincount(mask.ravel(), minlength=256)
    used = np.flatnonzero(counts[: len(table)]).tolist()
    greys = {index: table[index][0] for index in used if len(set(table[index])) == 1}
    if greys == {index: index for index in used}:  # a ramp of grey says nothing
        return mask
    nearest = {index: _id_of(table[index], colors, tolerance) for index in used}
    ids = {index: raw for index, raw in nearest.items() if raw is not None}
    strange = [index for index in used if index not in ids]
    if strange and len(greys) == len(used) and {*greys.values()} <= {*colors.values(), IGNORE_INDEX}:
        return _mapped(mask, counts, greys)
    other = [index for index, raw in ids.items() if raw != index]
    if not other:
        return mask
    if strange:
        raise ValueError(
            f"index {other[0]} of its palette has the colour of id {ids[other[0]]}, but index {strange[0]} a colour of"
            f" no class, {table[strange[0]]}; save it in grey, or correct the colours of the palette or the labels"
        )
    return _mapped(mask, counts, ids)


def color_table(palette: Sequence[int]) -> list[Color]:
    """Return red, green and blue of each index."""
    return [(palette[i], palette[i + 1], palette[i + 2]) for i in range(0, len(palette) - 2, 3)]


def _nearest_keys(found: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest key of each colour 0xRRGGBB, and its distance; int64 and float64 (N,)."""
    from scipy.spatial import KDTree  # slow to import

    one, other = (np.stack([c >> 16, c >> 8 & 255, c & 255], -1) for c in (found, keys))
    distances, places = KDTree(other).query(one)
    return places, distances


def _id_of(color: Color, colors: Mapping[Color, int], tolerance: float | None) -> int | None:
    """Return the raw id of a colour or, with a tolerance, of the nearest known one."""
    if color in colors or not tolerance:
        return colors.get(color)
    nearest = min(colors, key=lambda known: math.dist(known, color))
    return colors[nearest] if math.dist(nearest, color) <= tolerance else None


def _mapped(mask: np.ndarray, counts: np.ndarray, ids: Mapping[int, int]) -> np.ndarray:
    """Return the raw id of each index (H, W) of a palette; raise ValueError if it lacks an index with pixels."""
    beyond = [index for index in np.flatnonzero(counts).tolist() if index not in ids]
    if beyond:
        raise ValueError(f"some pixels have the index {beyond[0]}, which has no colour in its palette; save it in grey")
    table = np.zeros(256, np.uint16 if max(ids.values()) > 255 else np.uint8)
    table[list(ids)] = list(ids.values())
    return table[mask]
