"""Tell the colours of classes from stray colours, which smoothing, scaling or JPEG leave at edges in masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from data.labels import Color

SOLID = 0.05
"""Smallest share of the pixels of a class's colour that lie inside areas of it. Stray colours have nearly none."""
NEAR = 24.0
"""Distance in red, green and blue up to which a colour may be noise of another, or a mixture of two others."""
SAME, OFTEN = 6.0, 20
"""An area is noise, such as a block of a JPEG that is off by 1, up to this distance from a more frequent colour, and up
to `NEAR` from one with so many times more pixels. Palettes of data sets have colours 10 apart."""
RARE, FEW, MANY = 1e-4, 32, 64
"""Share of the pixels, and number of them, below which a colour that forms no area is a stray if there are more than
`MANY` colours."""


def inside_areas(mask: np.ndarray) -> np.ndarray:
    """Return where a pixel and its eight neighbours have one value: bool (H - 2, W - 2) for numbers (H, W)."""
    rows = (mask[:, :-2] == mask[:, 1:-1]) & (mask[:, 1:-1] == mask[:, 2:])
    columns = (mask[:-2, 1:-1] == mask[1:-1, 1:-1]) & (mask[1:-1, 1:-1] == mask[2:, 1:-1])
    return rows[:-2] & rows[1:-1] & rows[2:] & columns


def main_colors(pixels: Mapping[Color, int], inside: Mapping[Color, int]) -> list[Color]:
    """Return the colours that are classes, those with the most pixels first.

    These are the colours that form areas, except a rare one beside a frequent one (noise), and other colours that
    are neither near a class's colour nor a mixture of two.

    Args:
        pixels: number of pixels of each colour.
        inside: how many of these are inside areas of the colour; colours without any may be missing.
    """
    ordered = sorted(pixels, key=lambda color: (-pixels[color], color))
    kept: list[Color] = []
    others = []
    for color in ordered:
        if inside.get(color, 0) < max(SOLID * pixels[color], 1):
            others.append(color)
        elif not _near(color, kept, SAME) and all(pixels[near] < OFTEN * pixels[color] for near in _near(color, kept)):
            kept.append(color)
    least = max(RARE * sum(pixels.values()), FEW) if len(pixels) > MANY else 0
    for color in others:
        if pixels[color] >= least and not _near(color, kept) and not _is_mixture(color, kept):
            kept.append(color)
    return sorted(kept, key=ordered.index)


def _near(color: Color, kept: list[Color], distance: float = NEAR) -> list[Color]:
    return [other for other in kept if math.dist(color, other) <= distance]


def _is_mixture(color: Color, kept: list[Color]) -> bool:
    """Whether a colour is near the line between two others."""
    pairs = np.array(list(itertools.combinations(kept, 2)), np.float64)
    if not pairs.size:
        return False
    first, along = pairs[:, 0], pairs[:, 1] - pairs[:, 0]
    shares = np.clip(((color - first) * along).sum(1) / (along**2).sum(1), 0, 1)
    return bool((np.linalg.norm(first + shares[:, None] * along - color, axis=1) <= NEAR).any())
