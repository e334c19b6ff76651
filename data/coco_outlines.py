"""Check and paint the outlines of COCO annotations.

pycocotools does not check its input: coordinates far away fill the memory or end the process.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

Outline = list[list[float]] | list[int]
"""Polygons (x1, y1, x2, y2, ...) in pixels; or run lengths, column by column, the first outside."""

FURTHEST = 1e5
"""Pixels; points farther away are moved to here, since pycocotools takes memory for each pixel along an edge."""


class NothingToPaint(Exception):
    """An outline without an area; the message says why."""


def checked_outline(segmentation: Any, height: int, width: int) -> Outline:
    """Return the outline in the `segmentation` of an annotation, for a photo of height x width pixels.

    Polygons may be lists of pairs, [[x, y], ...]. Those of fewer than three points are dropped.

    Raises:
        NothingToPaint: nothing is left.
        ValueError: it is not an outline of this photo.
    """
    if isinstance(segmentation, dict) and segmentation:
        return _checked_run_lengths(segmentation, height, width)
    if segmentation is None or segmentation in ([], {}):
        raise NothingToPaint("without an outline")
    if not isinstance(segmentation, list):
        raise ValueError(f"its segmentation is {reprlib.repr(segmentation)}, expected polygons or run lengths")
    parts = [part for part in segmentation if part != []]
    nested = any(isinstance(part, list) for part in parts) and not _is_of_pairs(parts)
    polygons = [_checked_polygon(part) for part in (parts if nested or not parts else [parts])]
    if not polygons:
        raise NothingToPaint("without an outline")
    values = [value for polygon in polygons for value in polygon]
    if min(values, default=-1) >= 0 and max(values) <= 1 and not all(float(value).is_integer() for value in values):
        raise NothingToPaint("with coordinates from 0 to 1, which must be pixels")
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        raise NothingToPaint("with fewer than 3 points")
    return polygons


def unpacked_counts(text: str) -> list[int]:
    """Decompress run lengths as pycocotools does: five bits per character, differences from the fourth on.

    Raises:
        ValueError: the text is not compressed run lengths.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"its compressed run lengths are not in COCO's format near {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last of this number
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are cut off")
    return counts


def area(outline: Outline) -> float:
    """Return the area of a checked outline in pixels."""
    if not isinstance(outline[0], list):
        return float(sum(outline[1::2]))
    return sum(cv2.contourArea(np.array(polygon, np.float32).reshape(-1, 2)) for polygon in outline)


def paint(regions: Iterable[tuple[int, Outline]], height: int, width: int) -> np.ndarray:
    """Paint regions (train id, checked outline) in their order: uint8 (height, width)."""
    mask = np.zeros((height, width), np.uint8)
    for label, outline in regions:
        if isinstance(outline[0], list):
            inside = rle.decode(rle.merge(rle.frPyObjects(outline, height, width))).astype(bool)
        else:
            inside = np.repeat(np.arange(len(outline)) % 2 == 1, outline).reshape(width, height).T
        mask[inside] = label
    return mask


def _is_of_pairs(polygon: Any) -> bool:
    return isinstance(polygon, list) and all(
        isinstance(point, list) and len(point) == 2 and not any(isinstance(value, list) for value in point)
        for point in polygon
    )


def _checked_polygon(polygon: Any) -> list[float]:
    if _is_of_pairs(polygon):
        polygon = [value for point in polygon for value in point]
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        raise ValueError(f"its polygon {reprlib.repr(polygon)} is not a list of numbers")
    if len(polygon) % 2:
        raise ValueError(f"its polygon has {len(polygon)} numbers, expected pairs of x and y")
    far = [value for value in polygon if not abs(value) <= FURTHEST]
    for value in far:
        if not abs(value) <= sys.float_info.max:
            raise ValueError(f"its polygon has the coordinate {reprlib.repr(value)}")
    return [min(max(value, -FURTHEST), FURTHEST) for value in polygon] if far else polygon


def _checked_run_lengths(segmentation: dict[str, Any], height: int, width: int) -> list[int]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"its run lengths are of the size {reprlib.repr(size)}, the photo of {[height, width]}")
    if isinstance(counts, str):
        counts = unpacked_counts(counts)
    if not isinstance(counts, list) or not all(type(c) in (int, float) and c == c // 1 for c in counts):
        raise ValueError(f"its run lengths are {reprlib.repr(counts)}, expected whole numbers or a text")
    if min(counts, default=0) < 0:
        raise ValueError(f"its run lengths have the negative count {min(counts)}")
    if sum(counts) != height * width:
        raise ValueError(f"its run lengths add up to {sum(counts)} pixels, the photo has {height * width}")
    return [int(count) for count in counts]
