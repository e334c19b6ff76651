"""What stands in a generated street: how each thing is drawn on the canvas of a scene."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from data.street_scene import Color, Scene, Spot, noise

SKY, BUILDING, ROAD, PAVEMENT, VEGETATION, POLE, SIGN, CAR, PERSON = range(9)
FAR = 70.0  # metres to the end of the street


WALLS: tuple[Color, ...] = (
    (150, 148, 145), (96, 94, 95), (196, 176, 142), (226, 220, 208), (152, 84, 66), (120, 88, 64),
    (176, 192, 202), (204, 160, 110), (168, 176, 150), (190, 140, 130), (120, 140, 165),
)  # fmt: skip
ROOFS: tuple[Color, ...] = ((130, 66, 50), (86, 70, 62), (78, 82, 92), (110, 106, 104))
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


def draw_sky(scene: Scene) -> None:
    """A gradient with clouds, painted small as nothing in it is sharp, and what closes the street's end."""
    down = np.linspace(0, 1.4, 24, dtype=np.float32).clip(0, 1)[:, None, None]
    sky = np.array(scene.zenith) * (1 - down) + np.array(scene.haze) * down
    clouds = noise(scene.rng, 24, 32, 8) + 0.5 * noise(scene.rng, 24, 32, 3)
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


def draw_ground(scene: Scene) -> None:
    """Lawn, pavements with kerbs, the road and its markings."""
    half, facade, near = scene.half, scene.facade, scene.near
    gray, stone = int(scene.between(65, 135)), int(scene.between(110, 185))
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


def shade_ground(scene: Scene) -> None:
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


def draw_row(scene: Scene, side: int) -> None:
    """The houses and gardens along one side (-1 left, 1 right), the far ones first."""
    ends = [min(scene.near, 1.0)]
    while ends[-1] < FAR:
        ends.append(ends[-1] + scene.between(6, 14))
    for start, end in reversed(list(itertools.pairwise(ends))):
        draw = draw_garden if scene.chance(0.35) else draw_building
        draw(scene, side, start, end)


def draw_garden(scene: Scene, side: int, start: float, end: float) -> None:
    """A hedge along the pavement and trees behind it."""
    x, height = scene.axis + side * (scene.facade + 0.4), scene.between(0.8, 1.8)
    for z in (end, start + 1):
        if z > 4:
            draw_tree(scene, x + side * scene.between(2, 4), z)
    green = scene.tint(scene.leaves)
    scene.wall(VEGETATION, green, (x, start), (x, end), 0, height, scene.side_light(-side))
    scene.wall(VEGETATION, green, (x, start), (x + side * 12, start), 0, height, 0.8)


def draw_building(scene: Scene, side: int, start: float, end: float) -> None:
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
        draw_windows(scene, (x, start), (x, end), height)
        draw_windows(scene, (x, start), (back, start), height)


def draw_windows(scene: Scene, a: Spot, b: Spot, height: float) -> None:
    """Rows of windows, some of them lit, on the wall over the ground points a and b."""
    columns = max(1, int(np.hypot(b[0] - a[0], b[1] - a[1]) / scene.between(1.8, 2.8)))
    along = (np.arange(columns)[:, None] + np.array([0.25, 0.75, 0.75, 0.25])) / columns
    up = np.arange(0.9, height - 1.8, 2.9)[:, None, None] + np.array([0.0, 0.0, 1.6, 1.6])
    u, v = scene.project(a[0] + along * (b[0] - a[0]), up, a[1] + along * (b[1] - a[1]))
    panes = np.stack((np.broadcast_to(u, v.shape), v), -1).reshape(-1, 4, 2).astype(np.int32)
    lit = scene.rng.random(len(panes)) < 0.3
    for chosen, color in ((~lit, (74, 88, 104)), (lit, (190, 190, 170))):
        cv2.fillPoly(scene.canvas, list(panes[chosen]), scene.paint(BUILDING, scene.tint(color), a[1]))


def draw_tree(scene: Scene, x: float, z: float) -> None:
    """A trunk below a heap of leaves that brightens towards the sky."""
    height = scene.between(3.5, 7)
    radius, green = height * scene.between(0.22, 0.3), scene.tint(scene.leaves, 10)
    scene.panel(VEGETATION, scene.tint((92, 74, 56)), (x, 0, z), 0.09 * height, height - radius)
    for light in np.linspace(0.7, 1.25, 12):
        lift = height + (light - 1.9 + scene.between(-0.75, 0.75)) * radius
        place = (x + (scene.between(-0.75, 0.75) + 0.3 * scene.sun * (light - 0.9)) * radius, lift, z)
        scene.disc(VEGETATION, green, place, (1.15 - 0.5 * light) * radius, light)


def draw_pole(scene: Scene, x: float, z: float, height: float, width: float) -> Color:
    """A mast, brighter in its middle as round things are; returns its colour."""
    metal = scene.tint(scene.pick(METALS), 5)
    scene.panel(POLE, metal, (x, 0, z), width, height)
    glint = min(metal[0] + 50, 255), min(metal[1] + 50, 255), min(metal[2] + 50, 255)
    scene.panel(POLE, glint, (x + 0.1 * width * scene.sun, 0, z), 0.4 * width, height)
    return metal


def draw_lamp(scene: Scene, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road, or a bare mast."""
    height, arm = scene.between(4, 6.5), scene.between(1, 2) * (1 if x < scene.axis else -1)
    metal = draw_pole(scene, x, z, height, 0.44)
    scene.panel(POLE, metal, (x, 0, z), 0.6, 0.8)
    if scene.chance(0.7):
        scene.panel(POLE, metal, (x + arm / 2, height - 0.35, z), abs(arm), 0.35)
        scene.panel(POLE, metal, (x + arm, height - 0.5, z), 1.0, 0.5)


def draw_sign(scene: Scene, x: float, z: float) -> None:
    """A traffic sign on its pole: a disc, an octagon, a diamond, a board or a triangle."""
    height, radius = scene.between(2.3, 3.2), scene.between(0.6, 0.8)
    draw_pole(scene, x, z, height + 0.4, 0.44)
    rim, face = scene.pick(SIGNS)
    corners, turn = scene.pick(SIGN_SHAPES)
    angles = np.arange(corners) * (2 * np.pi / corners) + turn
    for size, color in ((radius, rim), (0.78 * radius, scene.tint(face))):
        outline = [(x + size * float(np.cos(t)), height + size * float(np.sin(t)), z) for t in angles]
        scene.fill(SIGN, color, outline)
    if scene.chance(0.7):
        scene.panel(SIGN, rim, (x, height - 0.2, z), *scene.pick(((0.25, 0.5), (0.7, 0.25))))


def draw_person(scene: Scene, x: float, z: float) -> None:
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


def draw_car(scene: Scene, x: float, z: float) -> None:
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


def draw_crossing_car(scene: Scene, x: float, z: float) -> None:
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
