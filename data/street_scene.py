"""The world of a generated street scene, and the camera that sees it.

The world is in metres, seen by a camera at x = 0: x to the right, y up from the ground, z away from the
camera. A street runs along z between two rows of houses and gardens. Everything is a polygon filled on one
canvas of four channels - red, green, blue, class - so image and mask cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np

T = TypeVar("T")
Color = tuple[int, int, int]
Spot = tuple[float, float]  # x and z on the ground
Point = tuple[float, float, float]

SKIES: tuple[tuple[Color, Color], ...] = (  # (zenith, horizon)
    ((70, 125, 205), (190, 212, 232)), ((110, 160, 215), (225, 232, 236)), ((95, 95, 145), (245, 178, 120)),
    ((150, 156, 165), (208, 208, 208)), ((226, 228, 230), (244, 242, 236)), ((98, 104, 116), (175, 176, 178)),
)  # fmt: skip
LEAVES: tuple[Color, ...] = (
    (70, 110, 46), (96, 130, 58), (58, 96, 54), (130, 140, 62), (112, 126, 58), (80, 118, 70),
)  # fmt: skip


class Scene:
    """A camera in a street, and the canvas that it fills.

    Attributes:
        canvas: uint8 (H, W, 4) at the size it is given: RGB and class.
        axis, half, facade: x of the middle of the road, half its width, and how far from the axis
            the houses begin; the pavements lie between.
        near: z where the ground enters the frame.
        footprints: (x, z, half width, half length, height) of what stands in the street.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.canvas = np.zeros((height, width, 4), np.uint8)
        self.focal = (0.75 * height * width) ** 0.5
        self.horizon = height * self.between(0.36, 0.52)
        self.vanishing_x = width * self.between(0.36, 0.64)
        self.bend = self.between(-0.004, 0.004)
        self.eye = self.between(1.7, 2.5)
        self.near = 0.9 * self.focal * self.eye / (height - self.horizon)
        self.axis = self.between(-1.3, 1.3)
        self.half = self.between(2.6, 3.4)
        self.facade = self.half + self.between(1.9, 2.8)
        self.sun = self.between(-1.0, 1.0)  # from the left .. from the right
        self.visibility = self.between(80.0, 250.0)
        self.zenith, self.haze = self.pick(SKIES)
        self.leaves = self.pick(LEAVES)
        self.footprints: list[tuple[float, float, float, float, float]] = []

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def tint(self, color: Color, spread: float = 14.0) -> Color:
        """A colour near `color`, brighter or darker."""
        gain = self.between(0.85, 1.12)
        red, green, blue = (int(min(max(c * gain + self.between(-spread, spread), 0), 255)) for c in color)
        return red, green, blue

    def side_light(self, normal: float) -> float:
        """Brightness of an upright face that looks left (-1), at the camera (0) or right (1)."""
        return 0.87 + 0.22 * normal * self.sun

    def project(self, x: Any, y: Any, z: Any) -> tuple[Any, Any]:
        """Canvas column and row of points of the world; the street bends with the square of z."""
        scale = self.focal / z
        return self.vanishing_x + scale * (x + self.bend * z * z), self.horizon + scale * (self.eye - y)

    def paint(self, label: int, color: Color, z: float, light: float = 1.0) -> tuple[float, ...]:
        """The four channels of a surface: lit, then veiled by the haze in front of it."""
        clear = math.exp(-z / self.visibility)
        return (*(c * light * clear + h * (1 - clear) for c, h in zip(color, self.haze, strict=True)), label)

    def fill(self, label: int, color: Color, corners: Sequence[Point], light: float = 1.0) -> None:
        pixels = np.array([self.project(*corner) for corner in corners], np.int32)
        cv2.fillPoly(self.canvas, [pixels], self.paint(label, color, corners[0][2], light))

    def wall(self, label: int, color: Color, a: Spot, b: Spot, low: float, high: float, light: float) -> None:
        """An upright rectangle over the ground points a and b, from the height `low` to `high`."""
        (x0, z0), (x1, z1) = a, b
        self.fill(label, color, ((x0, low, z0), (x1, low, z1), (x1, high, z1), (x0, high, z0)), light)

    def panel(self, label: int, color: Color, base: Point, width: float, height: float) -> None:
        """A rectangle that faces the camera; `base` is the middle of its lower edge."""
        x, y, z = base
        self.wall(label, color, (x - width / 2, z), (x + width / 2, z), y, y + height, 1.0)

    def disc(self, label: int, color: Color, center: Point, radius: float, light: float = 1.0) -> None:
        u, v = self.project(*center)
        pixels = int(radius * self.focal / center[2] + 0.5)
        cv2.circle(self.canvas, (int(u), int(v)), pixels, self.paint(label, color, center[2], light), -1)

    def strip(self, label: int, color: Color, x0: float, x1: float, z0: float, z1: float) -> None:
        """A strip of the ground along the street; x counts from its axis. Haze comes later."""
        depths = np.geomspace(z0, z1, 2 if z1 < 2 * z0 else 10)
        edges = [np.stack(self.project(self.axis + x, 0.0, depths), -1) for x in (x0, x1)]
        outline = np.concatenate((edges[0], edges[1][::-1])).astype(np.int32)
        cv2.fillPoly(self.canvas, [outline], (*color, label))


def noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth float32 (height, width) noise of unit strength with blobs of about `cell` pixels."""
    shape = int(height / cell) + 2, int(width / cell) + 2
    return cv2.resize(rng.standard_normal(shape, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
