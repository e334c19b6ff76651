"""Generated street scenes with exact masks: data that needs no download and fits every size.

Colour says little about the class: cars, clothes and houses have any, road and pavement share their greys.
Shape, place and texture tell. `data.street_scene` holds the world and its camera, `data.street_objects` what
stands in it; here it is put together.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.labels import LabelSet
from data.samples import Sample, SegmentationDataset
from data.street_objects import (
    draw_car,
    draw_crossing_car,
    draw_ground,
    draw_lamp,
    draw_person,
    draw_row,
    draw_sign,
    draw_sky,
    draw_tree,
    shade_ground,
)
from data.street_scene import Point, Scene, Spot, noise
from utils.errors import UserError
from utils.value_types import LARGEST_SIDE, SMALLEST_SIDE

LABELS = LabelSet(
    ("sky", "building", "road", "pavement", "vegetation", "pole", "sign", "car", "person"),
    ((70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232), (107, 142, 35), (153, 153, 153),
     (220, 220, 0), (0, 0, 142), (220, 20, 60)),
)  # fmt: skip
# Strength of coarse and of fine texture by class, relative to the brightness.
TEXTURE = np.array([[0, 6, 8, 7, 16, 4, 2, 3, 4], [0, 3, 5, 4, 18, 2, 2, 2, 3]], np.float32) / 100

SUPERSAMPLING = 3  # the canvas is this much larger than the image, for smooth edges; odd, so that a pixel has a middle
KEPT = 64 * 2**20  # bytes of scenes that a data set keeps, as drawing one takes longer than augmenting it


class Synthetic(SegmentationDataset):
    """Generated street scenes; `dataset[i]` depends on the split, `i` and the size, and on nothing else.

    Args:
        size: (height, width) of every image, 32 or more each.
        split: 'train' or 'val'; the two share no scene.
        train_length, val_length: number of scenes in each split.

    Raises:
        UserError: the split is unknown, or the size or the length too small.
    """

    labels = LABELS

    def __init__(self, size: tuple[int, int], split: str, train_length: int = 400, val_length: int = 60) -> None:
        length = train_length if self.known_split(split) == "train" else val_length
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in size) or not 1 <= length <= 1_000_000:
            raise UserError(
                f"synthetic data needs a size of {SMALLEST_SIDE} to {LARGEST_SIDE:,} and a length of 1 to 1,000,000,"
                f" not {size[0]}x{size[1]} and {length}"
            )
        self.split, self.length = split, length
        self._size = size
        self._kept: dict[int, Sample] = {}
        self._room = KEPT // (4 * size[0] * size[1])  # scenes of 3 + 1 bytes a pixel

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        if index in self._kept:
            return self._kept[index]
        seed = np.random.SeedSequence([zlib.crc32(self.split.encode()), index])
        sample = Sample(*_render(np.random.default_rng(seed), *self._size), self.name(index))
        if len(self._kept) < self._room:
            self._kept[index] = sample
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}  # to be drawn again, elsewhere

    def name(self, index: int) -> str:
        return f"{self.split}/{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        return self._size


class _Kind(NamedTuple):
    """A kind of thing that stands in the street.

    Attributes:
        draw: draws one at (x, z).
        counts: how many of them a scene may have; repeated numbers are likelier.
        beyond: how far beyond the kerb they stand; negative on the road.
        size, part: a thing of `size` metres never spans less than `part` of the frame, as a network
            cannot learn specks.
        footprint: half width, half length and height; keeps things apart and casts the shadow.
    """

    draw: Callable[[Scene, float, float], None]
    counts: tuple[int, ...]
    beyond: tuple[float, float]
    size: float
    part: float
    footprint: Point


KINDS = (  # what matters more looks for its place earlier
    _Kind(draw_car, (1, 2, 2, 3), (-2.2, -1.2), 1.8, 0.16, (0.9, 2.1, 1.6)),
    _Kind(draw_person, (1, 2, 2, 3), (0.5, 1.6), 1.8, 0.36, (0.35, 0.2, 1.8)),
    _Kind(draw_sign, (1, 2, 2, 3), (0.5, 0.9), 1.4, 0.17, (0.5, 0.15, 2.5)),
    _Kind(draw_tree, (1, 1, 2), (0.8, 1.4), 5.0, 0.4, (0.6, 0.6, 4.0)),
    _Kind(draw_lamp, (1, 2, 2), (0.3, 0.5), 0.44, 0.05, (0.3, 0.2, 4.0)),
    _Kind(draw_person, (0, 1, 1), (-2.5, -0.5), 1.8, 0.36, (0.35, 0.2, 1.8)),
    _Kind(draw_crossing_car, (0, 0, 0, 1), (-3.0, -1.0), 1.5, 0.15, (2.1, 0.9, 1.5)),
)


def _place(scene: Scene, kind: _Kind) -> Spot | None:
    """A spot in view where nothing nearer or farther hides the thing for the most part, if one is found."""
    half_width, half_length, height = kind.footprint
    for _ in range(6):
        x = scene.axis + scene.pick((-1, 1)) * (scene.half + scene.between(*kind.beyond))
        room = scene.width - scene.vanishing_x if x > 0 else scene.vanishing_x
        nearest = max(1.08 * (abs(x) + 0.3) * scene.focal / room, 1.3 * scene.near)
        farthest = scene.focal * kind.size / (kind.part * min(scene.height, scene.width))
        z = scene.between(nearest, max(farthest, 1.1 * nearest))
        others = ((a, b - deep, wide) for a, b, wide, deep, _ in scene.footprints)
        if all(abs(x / z - a / b) > 0.75 * (half_width / z + wide / b) for a, b, wide in others):
            scene.footprints.append((x, z + half_length, half_width, half_length, height))
            return x, z
    return None


def _render(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene: image uint8 (height, width, 3) and mask uint8 (height, width)."""
    scene = Scene(rng, SUPERSAMPLING * height, SUPERSAMPLING * width)
    draw_sky(scene)
    draw_ground(scene)
    wanted = [kind for kind in KINDS for _ in range(scene.pick(kind.counts))]
    placed = [(spot, kind) for kind in wanted if (spot := _place(scene, kind))]
    shade_ground(scene)
    for side in (-1, 1):
        draw_row(scene, side)
    for (x, z), kind in sorted(placed, key=lambda thing: -thing[0][1]):
        kind.draw(scene, x, z)
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    mask = np.ascontiguousarray(scene.canvas[middle, middle, 3])
    image = cv2.resize(scene.canvas, (width, height), interpolation=cv2.INTER_AREA)[:, :, :3]
    return _photograph(scene, image, mask), mask


def _photograph(scene: Scene, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Photograph a scene: texture by class, colour cast, exposure and sensor noise."""
    height, width = mask.shape
    coarse = noise(scene.rng, height, width, max(height / 16, 2))
    fine = noise(scene.rng, height, width, max(height / 80, 1))
    texture = 1 + TEXTURE[0][mask] * coarse + TEXTURE[1][mask] * fine
    cast = np.array([scene.between(0.9, 1.1) for _ in range(3)], np.float32) * scene.between(0.85, 1.15)
    grain = scene.rng.standard_normal(mask.shape, np.float32) * scene.between(1.5, 5)
    photo = image * (texture[:, :, None] * cast) + grain[:, :, None]
    return photo.clip(0, 255).astype(np.uint8)
