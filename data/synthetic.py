"""Generated street scenes with exact masks: data that needs no download and fits every size.

A scene is a small world in metres, seen by a camera at x = 0: x to the right, y up from the ground,
z away from the camera. A street runs along z between two rows of houses and gardens. Everything is a
polygon filled on one canvas of four channels - red, green, blue, class - so image and mask cannot
disagree. Colour says little about the class: cars, clothes and houses have any, road and pavement share
their greys. Shape, place and texture tell.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from data.labels import LabelSet
from data.samples import Sample
from utils.errors import UserError, did_you_mean

T = TypeVar("T")
Color = tuple[int, int, int]
Spot = tuple[float, float]  # x and z on the ground
Point = tuple[float, float, float]

LABELS = LabelSet(
    ("sky", "building", "road", "pavement", "vegetation", "pole", "sign", "car", "person"),
    ((70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232), (107, 142, 35), (153, 153, 153),
     (220, 220, 0), (0, 0, 142), (220, 20, 60)),
)  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, VEGETATION, POLE, SIGN, CAR, PERSON = range(len(LABELS))
# Strength of coarse and of fine texture by class, relative to the brightness.
TEXTURE = np.array([[0, 6, 8, 7, 16, 4, 2, 3, 4], [0, 3, 5, 4, 18, 2, 2, 2, 3]], np.float32) / 100

SPLITS = ("train", "val")
SUPERSAMPLING = 2  # the canvas is this much larger than the image, for smooth edges
FAR = 70.0  # metres to the end of the street

SKIES: tuple[tuple[Color, Color], ...] = (  # (zenith, horizon)
    ((70, 125, 205), (190, 212, 232)), ((110, 160, 215), (225, 232, 236)), ((95, 95, 145), (245, 178, 120)),
    ((150, 156, 165), (208, 208, 208)), ((226, 228, 230), (244, 242, 236)), ((98, 104, 116), (175, 176, 178)),
)  # fmt: skip
WALLS: tuple[Color, ...] = (
    (150, 148, 145), (96, 94, 95), (196, 176, 142), (226, 220, 208), (152, 84, 66), (120, 88, 64),
    (176, 192, 202), (204, 160, 110), (168, 176, 150), (190, 140, 130), (120, 140, 165),
)  # fmt: skip
ROOFS: tuple[Color, ...] = ((130, 66, 50), (86, 70, 62), (78, 82, 92), (110, 106, 104))
LEAVES: tuple[Color, ...] = (
    (70, 110, 46), (96, 130, 58), (58, 96, 54), (130, 140, 62), (166, 138, 58), (110, 112, 62),
    (150, 104, 56),
)  # fmt: skip
METALS: tuple[Color, ...] = ((88, 90, 94), (130, 132, 134), (62, 64, 68), (112, 104, 96), (168, 168, 164))
PAINTS: tuple[Color, ...] = (
    (230, 230, 228), (150, 152, 156), (44, 46, 52), (186, 34, 32), (36, 76, 160), (26, 104, 76),
    (214, 176, 52), (128, 34, 62), (206, 110, 42), (120, 172, 204), (104, 92, 78), (206, 110, 146),
    (98, 74, 142),
)  # fmt: skip
HAIRS: tuple[Color, ...] = ((40, 34, 30), (96, 66, 40), (150, 146, 142))
SKINS: tuple[Color, ...] = ((236, 196, 168), (208, 158, 122), (150, 104, 74), (96, 64, 46))
SIGNS: tuple[tuple[Color, Color], ...] = (  # (rim, face)
    ((196, 30, 34), (236, 234, 228)), ((236, 236, 236), (30, 80, 180)), ((40, 40, 40), (236, 192, 36)),
    ((236, 236, 236), (196, 30, 34)), ((236, 236, 232), (30, 116, 76)), ((60, 62, 66), (226, 226, 222)),
)  # fmt: skip
SIGN_SHAPES = ((20, 0.0), (8, np.pi / 8), (4, 0.0), (4, np.pi / 4), (3, np.pi / 2))  # corners, turn
BLACK, PLATE, TAIL_LIGHT, HEADLIGHT = (26, 26, 28), (215, 212, 196), (200, 30, 28), (240, 236, 214)


class Synthetic:
    """Generated street scenes; `dataset[i]` depends on the split, `i` and the size, and on nothing else.

    Args:
        size: (height, width) of every image, 32 or more each.
        split: 'train' or 'val'; the two share no scene.
        length: number of scenes.

    Raises:
        UserError: the split is unknown, or the size or the length too small.
    """

    labels = LABELS

    def __init__(self, size: tuple[int, int], split: str, length: int) -> None:
        if split not in SPLITS:
            hint = did_you_mean(split, SPLITS)
            raise UserError(f"synthetic data has no split '{split}', only {' and '.join(SPLITS)}{hint}")
        if min(size) < 32 or length < 1:
            raise UserError(f"synthetic data needs a size of 32 or more and a length of 1 or more, "
                            f"not {size[0]}x{size[1]} and {length}")  # fmt: skip
        self.size, self.split, self.length = size, split, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        seed = np.random.SeedSequence([zlib.crc32(self.split.encode()), index])
        image, mask = _render(np.random.default_rng(seed), *self.size)
        return Sample(image, mask, f"{self.split}/{index:05d}")

    def files(self, index: int) -> list[str]:
        return []


class _Scene:
    """A camera in a street, and the canvas that it fills.

    Attributes:
        canvas: uint8 (H, W, 4) at `SUPERSAMPLING` times the size of the image: RGB and class.
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


def _noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth float32 (height, width) noise of unit strength with blobs of about `cell` pixels."""
    shape = int(height / cell) + 2, int(width / cell) + 2
    return cv2.resize(rng.standard_normal(shape, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _draw_sky(scene: _Scene) -> None:
    """A gradient with clouds, painted small as nothing in it is sharp, and what closes the street's end."""
    down = np.linspace(0, 1.4, 24, dtype=np.float32).clip(0, 1)[:, None, None]
    sky = np.array(scene.zenith) * (1 - down) + np.array(scene.haze) * down
    clouds = _noise(scene.rng, 24, 32, 8) + 0.5 * _noise(scene.rng, 24, 32, 3)
    cover = (clouds * 0.5 + scene.between(-0.6, 0.5)).clip(0, 0.8)[:, :, None]
    sky = (sky * (1 - cover) + scene.between(200, 250) * cover).astype(np.uint8)
    scene.canvas[:, :, :3] = cv2.resize(sky, (scene.width, scene.height))
    x = -scene.vanishing_x * FAR / scene.focal - scene.bend * FAR * FAR
    end = x + scene.width * FAR / scene.focal
    while x < end:
        width = scene.between(8, 16)
        label, color = (BUILDING, scene.pick(WALLS)) if scene.chance(0.7) else (VEGETATION, scene.leaves)
        height = scene.between(6, 15 if label == BUILDING else 8)
        scene.panel(label, scene.tint(color), (x, -1, FAR), 2 * width, height)
        x += width


def _draw_ground(scene: _Scene) -> None:
    """Lawn, pavements with kerbs, the road and its markings."""
    half, facade, near = scene.half, scene.facade, scene.near
    gray, stone = int(scene.between(70, 150)), int(scene.between(80, 180))
    scene.canvas[int(scene.horizon) + 1 :] = (*scene.tint(scene.leaves), VEGETATION)
    paving = scene.tint((stone, stone - 4, stone - 12), 6)
    scene.strip(PAVEMENT, paving, -facade - 0.6, facade + 0.6, near, FAR)
    scene.strip(PAVEMENT, scene.tint((170, 168, 164)), -half - 0.2, half + 0.2, near, FAR)
    scene.strip(ROAD, scene.tint((gray, gray, gray), 5), -half, half, near, FAR)
    white = scene.tint((225, 222, 205))
    if scene.chance(0.75):
        dash = scene.between(1.0, 3.0)
        for z in np.arange(near + scene.between(0, dash), 40, 2 * dash):
            scene.strip(ROAD, white, -0.09, 0.09, z, z + dash)
    if scene.chance(0.35):
        crossing = scene.between(1.5 * near, 14)
        for x in np.arange(-half + 0.25, half - 0.4, 0.95):
            scene.strip(ROAD, white, x, x + 0.5, crossing, crossing + 2.5)


def _shade_ground(scene: _Scene) -> None:
    """Shadows of the houses and of all that will stand in the street, then haze towards the horizon."""
    top = int(scene.horizon) + 1
    shade = np.full((scene.height, scene.width), 255, np.uint8)
    darkness = scene.between(140, 225)

    def cast(*spots: Spot) -> None:
        pixels = np.array([scene.project(x, 0, max(z, scene.near)) for x, z in spots], np.int32)
        cv2.fillPoly(shade, [pixels], darkness)

    wall = scene.axis + (scene.facade + 0.6) * (1 if scene.sun > 0 else -1)
    edge = wall - 7 * scene.sun
    cast((wall, scene.near), (edge, scene.near), (edge, FAR), (wall, FAR))
    for x, z, wide, deep, height in scene.footprints:
        tip, front, back = x - scene.sun * height, z - deep, z + deep
        cast((x - wide, front), (x + wide, front), (x + wide, back), (x - wide, back))
        cast((x, front), (tip, front + 0.3), (tip, back + 0.3), (x, back))
    soft = cv2.blur(shade, (5, 5))[top:, :, None]
    depth = scene.focal * scene.eye / np.arange(1, scene.height - top + 1, dtype=np.float32)
    clear = np.exp(-depth / scene.visibility)[:, None, None]
    ground = scene.canvas[top:, :, :3]
    ground[:] = ground * (soft * (clear / 255)) + np.array(scene.haze, np.float32) * (1 - clear)


def _draw_row(scene: _Scene, side: int) -> None:
    """The houses and gardens along one side (-1 left, 1 right), the far ones first."""
    ends = [min(scene.near, 1.0)]
    while ends[-1] < FAR:
        ends.append(ends[-1] + scene.between(6, 14))
    for start, end in reversed(list(itertools.pairwise(ends))):
        draw = _draw_garden if scene.chance(0.35) else _draw_building
        draw(scene, side, start, end)


def _draw_garden(scene: _Scene, side: int, start: float, end: float) -> None:
    """A hedge along the pavement and trees behind it."""
    x, height = scene.axis + side * (scene.facade + 0.4), scene.between(0.8, 1.8)
    for z in (end, start + 1):
        if z > 4:
            _draw_tree(scene, x + side * scene.between(2, 4), z)
    green = scene.tint(scene.leaves)
    scene.wall(VEGETATION, green, (x, start), (x, end), 0, height, scene.side_light(-side))
    scene.wall(VEGETATION, green, (x, start), (x + side * 12, start), 0, height, 0.8)


def _draw_building(scene: _Scene, side: int, start: float, end: float) -> None:
    """A house: a face along the street, one towards the camera, windows, perhaps a roof and a shop."""
    x, height = scene.axis + side * (scene.facade + scene.between(0.0, 0.6)), scene.between(4.5, 13.5)
    color, light, back = scene.tint(scene.pick(WALLS)), scene.side_light(-side), x + side * 12
    if scene.chance(0.5):
        ridge, top = x + side * 4, height + scene.between(1.5, 3)
        roof = ((x, height, start), (x, height, end), (ridge, top, end), (ridge, top, start))
        scene.fill(BUILDING, scene.tint(scene.pick(ROOFS)), roof, light)
        gable = ((x, height, start), (ridge, top, start), (2 * ridge - x, height, start))
        scene.fill(BUILDING, color, gable, scene.side_light(0))
    scene.wall(BUILDING, color, (x, start), (back, start), 0, height, scene.side_light(0))
    scene.wall(BUILDING, color, (x, start), (x, end), 0, height, light)
    if scene.chance(0.4):
        scene.wall(BUILDING, scene.tint(scene.pick(PAINTS)), (x, start), (x, end), 0, 3, light)
    if start < 35:  # farther windows would be specks
        _draw_windows(scene, (x, start), (x, end), height)
        _draw_windows(scene, (x, start), (back, start), height)


def _draw_windows(scene: _Scene, a: Spot, b: Spot, height: float) -> None:
    """Rows of windows, some of them lit, on the wall over the ground points a and b."""
    columns = max(1, int(np.hypot(b[0] - a[0], b[1] - a[1]) / scene.between(1.8, 2.8)))
    along = (np.arange(columns)[:, None] + np.array([0.25, 0.75, 0.75, 0.25])) / columns
    up = np.arange(0.9, height - 1.8, 2.9)[:, None, None] + np.array([0.0, 0.0, 1.6, 1.6])
    u, v = scene.project(a[0] + along * (b[0] - a[0]), up, a[1] + along * (b[1] - a[1]))
    panes = np.stack((np.broadcast_to(u, v.shape), v), -1).reshape(-1, 4, 2).astype(np.int32)
    lit = scene.rng.random(len(panes)) < 0.3
    for chosen, color in ((~lit, (74, 88, 104)), (lit, (190, 190, 170))):
        cv2.fillPoly(scene.canvas, list(panes[chosen]), scene.paint(BUILDING, scene.tint(color), a[1]))


def _draw_tree(scene: _Scene, x: float, z: float) -> None:
    """A trunk below a heap of leaves that brightens towards the sky."""
    height = scene.between(3.5, 7)
    radius, green = height * scene.between(0.22, 0.3), scene.tint(scene.leaves, 10)
    scene.panel(VEGETATION, scene.tint((92, 74, 56)), (x, 0, z), 0.09 * height, height - radius)
    for light in np.linspace(0.7, 1.25, 12):
        lift = height + (light - 1.9 + scene.between(-0.75, 0.75)) * radius
        place = (x + (scene.between(-0.75, 0.75) + 0.3 * scene.sun * (light - 0.9)) * radius, lift, z)
        scene.disc(VEGETATION, green, place, (1.15 - 0.5 * light) * radius, light)


def _draw_pole(scene: _Scene, x: float, z: float, height: float, width: float) -> Color:
    """A mast, brighter in its middle as round things are; returns its colour."""
    metal = scene.tint(scene.pick(METALS), 5)
    scene.panel(POLE, metal, (x, 0, z), width, height)
    glint = min(metal[0] + 50, 255), min(metal[1] + 50, 255), min(metal[2] + 50, 255)
    scene.panel(POLE, glint, (x + 0.1 * width * scene.sun, 0, z), 0.4 * width, height)
    return metal


def _draw_lamp(scene: _Scene, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road, or a bare mast."""
    height, arm = scene.between(4, 6.5), scene.between(1, 2) * (1 if x < scene.axis else -1)
    metal = _draw_pole(scene, x, z, height, 0.44)
    scene.panel(POLE, metal, (x, 0, z), 0.6, 0.8)
    if scene.chance(0.7):
        scene.panel(POLE, metal, (x + arm / 2, height - 0.35, z), abs(arm), 0.35)
        scene.panel(POLE, metal, (x + arm, height - 0.5, z), 1.0, 0.5)


def _draw_sign(scene: _Scene, x: float, z: float) -> None:
    """A traffic sign on its pole: a disc, an octagon, a diamond, a board or a triangle."""
    height, radius = scene.between(2.3, 3.2), scene.between(0.6, 0.8)
    _draw_pole(scene, x, z, height + 0.4, 0.36)
    rim, face = scene.pick(SIGNS)
    corners, turn = scene.pick(SIGN_SHAPES)
    angles = np.arange(corners) * (2 * np.pi / corners) + turn
    for size, color in ((radius, rim), (0.78 * radius, scene.tint(face))):
        outline = [(x + size * float(np.cos(t)), height + size * float(np.sin(t)), z) for t in angles]
        scene.fill(SIGN, color, outline)
    if scene.chance(0.7):
        scene.panel(SIGN, rim, (x, height - 0.2, z), *scene.pick(((0.25, 0.5), (0.7, 0.25))))


def _draw_person(scene: _Scene, x: float, z: float) -> None:
    """Someone who walks: legs, arms, torso, hair and head, in shares of the height."""
    height, step = scene.between(1.65, 2.0), scene.between(0.06, 0.13)
    shirt, trousers = scene.tint(scene.pick(PAINTS)), scene.tint(scene.pick(PAINTS))

    def part(color: Color, *corners: tuple[float, float]) -> None:
        scene.fill(PERSON, color, [(x + dx * height, y * height, z) for dx, y in corners])

    for s in (-1, 1):
        part(trousers, (s * 0.14, 0.52), (-s * 0.01, 0.52), (s * step - 0.06, 0), (s * step + 0.06, 0))
        part(shirt, (s * 0.12, 0.84), (s * 0.2, 0.79), (s * 0.22, 0.48), (s * 0.14, 0.48))
    part(shirt, (-0.18, 0.8), (-0.08, 0.86), (0.08, 0.86), (0.18, 0.8), (0.16, 0.46), (-0.16, 0.46))
    hair, skin = scene.tint(scene.pick(HAIRS)), scene.tint(scene.pick(SKINS))
    scene.disc(PERSON, hair, (x, 0.925 * height, z), 0.085 * height)
    scene.disc(PERSON, skin, (x, 0.89 * height, z), 0.075 * height)


def _draw_car(scene: _Scene, x: float, z: float) -> None:
    """A car along the street: the flank and the end that the camera sees, the deck and the cabin on it."""
    paint, glass = scene.tint(scene.pick(PAINTS)), scene.tint((60, 72, 84))
    height, end, w, side = scene.between(1.4, 2.0), z + scene.between(3.6, 4.8), 0.9, -1 if x > 0 else 1
    deck, roof, light = 0.58 * height, 0.8 * w, scene.side_light(side)
    rear, front = z + scene.between(0.1, 0.9), end - 0.9

    def quad(color: Color, y: float, z0: float, half0: float, top: float, z1: float, half1: float) -> None:
        corners = ((x - half0, y, z0), (x + half0, y, z0), (x + half1, top, z1), (x - half1, top, z1))
        scene.fill(CAR, color, corners, 1.12 if y == top else 1.0)

    flank, inner = x + side * w, x + side * roof
    for hub in (z + 0.8, end - 0.8):
        scene.wall(CAR, BLACK, (flank, hub - 0.33), (flank, hub + 0.33), 0, 0.6, 1.0)
    scene.wall(CAR, paint, (flank, z), (flank, end), 0.22, deck, light)
    quad(paint, deck, z, w, deck, end, w)
    start, stop = rear + 0.4, front - 0.6  # of the roof; the screens lean
    window = ((flank, deck, rear), (flank, deck, front), (inner, height, stop), (inner, height, start))
    scene.fill(CAR, glass, window, light)
    quad(paint, height, start, roof, height, stop, roof)
    quad(paint, deck, rear, w, height, start, roof)
    quad(glass, deck, rear, w - 0.1, height - 0.1, start, roof - 0.1)
    lamp = scene.pick((TAIL_LIGHT, HEADLIGHT))
    scene.panel(CAR, paint, (x, 0.22, z), 2 * w, deck - 0.22)
    scene.panel(CAR, BLACK, (x, 0.22, z), 2 * w, 0.14)
    scene.panel(CAR, PLATE, (x, 0.45 * deck, z), 0.5, 0.14)
    for dx in (-0.68, 0.68):
        scene.panel(CAR, BLACK, (x + dx, 0, z), 0.28, 0.36)
        scene.panel(CAR, lamp, (x + dx, 0.68 * deck, z), 0.34, 0.2)


def _draw_crossing_car(scene: _Scene, x: float, z: float) -> None:
    """A car seen from its side, as it turns or crosses."""
    paint, glass = scene.tint(scene.pick(PAINTS)), scene.tint((60, 72, 84))
    half, height = scene.pick((-2.1, 2.1)), scene.between(1.4, 1.7)

    def part(color: Color, *corners: tuple[float, float]) -> None:
        scene.fill(CAR, color, [(x + dx * half, y * height, z) for dx, y in corners])

    part(paint, (-0.75, 0.58), (-0.55, 1), (0.15, 1), (0.5, 0.58))
    part(glass, (-0.66, 0.58), (-0.5, 0.92), (-0.2, 0.92), (-0.2, 0.58))
    part(glass, (-0.14, 0.58), (-0.14, 0.92), (0.12, 0.92), (0.4, 0.58))
    part(paint, (-1, 0.16), (-1, 0.52), (-0.9, 0.58), (0.5, 0.58), (0.95, 0.5), (1, 0.16))
    part(HEADLIGHT, (0.9, 0.35), (0.9, 0.46), (0.98, 0.44), (0.98, 0.35))
    for hub in (-0.62, 0.62):
        scene.disc(CAR, BLACK, (x + hub * half, 0.33, z), 0.33)
        scene.disc(CAR, (150, 150, 152), (x + hub * half, 0.33, z), 0.17)


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

    draw: Callable[[_Scene, float, float], None]
    counts: tuple[int, ...]
    beyond: tuple[float, float]
    size: float
    part: float
    footprint: Point


KINDS = (  # what matters more looks for its place earlier
    _Kind(_draw_car, (1, 2, 2, 3), (-2.2, -1.2), 1.8, 0.16, (0.9, 2.1, 1.6)),
    _Kind(_draw_person, (1, 2, 2, 3), (0.5, 1.6), 1.8, 0.28, (0.35, 0.2, 1.8)),
    _Kind(_draw_sign, (1, 2, 2, 3), (0.5, 0.9), 1.4, 0.14, (0.5, 0.15, 2.5)),
    _Kind(_draw_tree, (1, 1, 2), (0.8, 1.4), 5.0, 0.4, (0.6, 0.6, 4.0)),
    _Kind(_draw_lamp, (1, 2, 2), (0.3, 0.5), 0.44, 0.04, (0.3, 0.2, 4.0)),
    _Kind(_draw_person, (0, 1, 1), (-2.5, -0.5), 1.8, 0.28, (0.35, 0.2, 1.8)),
    _Kind(_draw_crossing_car, (0, 0, 0, 1), (-3.0, -1.0), 1.5, 0.15, (2.1, 0.9, 1.5)),
)


def _place(scene: _Scene, kind: _Kind) -> Spot | None:
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
    scene = _Scene(rng, SUPERSAMPLING * height, SUPERSAMPLING * width)
    _draw_sky(scene)
    _draw_ground(scene)
    wanted = [kind for kind in KINDS for _ in range(scene.pick(kind.counts))]
    placed = [(spot, kind) for kind in wanted if (spot := _place(scene, kind))]
    _shade_ground(scene)
    for side in (-1, 1):
        _draw_row(scene, side)
    for (x, z), kind in sorted(placed, key=lambda thing: -thing[0][1]):
        kind.draw(scene, x, z)
    mask = np.ascontiguousarray(scene.canvas[::SUPERSAMPLING, ::SUPERSAMPLING, 3])
    image = cv2.resize(scene.canvas, (width, height), interpolation=cv2.INTER_AREA)[:, :, :3]
    return _photograph(scene, image, mask), mask


def _photograph(scene: _Scene, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What the camera makes of it: texture by class, colour cast, exposure and sensor noise."""
    height, width = mask.shape
    coarse = _noise(scene.rng, height, width, max(height / 16, 2))
    fine = _noise(scene.rng, height, width, max(height / 80, 1))
    texture = 1 + TEXTURE[0][mask] * coarse + TEXTURE[1][mask] * fine
    cast = np.array([scene.between(0.9, 1.1) for _ in range(3)], np.float32) * scene.between(0.85, 1.15)
    grain = scene.rng.standard_normal(mask.shape, np.float32) * scene.between(1.5, 5)
    photo = image * (texture[:, :, None] * cast) + grain[:, :, None]
    return photo.clip(0, 255).astype(np.uint8)
