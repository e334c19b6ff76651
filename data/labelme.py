"""Outlines of labelme: one JSON file per photo, https://github.com/wkentaro/labelme."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from unicodedata import normalize

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from utils.errors import UnknownId, Unreadable, UserError
from utils.safe_reading import FileSchema, check_schema, read_json
from utils.text import one_line, plural, shown

BACKGROUND = ("_background_", "__background__", "background", "bg")
"""Names of the background, in lower case."""
IGNORED = "__ignore__"
POLYGONS = ("polygon", "rotation", "oriented_rectangle", "quadrilateral")
NO_AREA = ("point", "points", "line", "linestrip")
FURTHEST = 1e5
"""Pixels; Pillow paints other pixels where points are much farther away."""
EXPECTED = 'expected {"imageHeight": 480, "imageWidth": 640, "shapes": [{"label": "cat", "points": [[x, y], ...]}]}'

_Side = Annotated[int, Field(gt=0, lt=2**15)]
_Pixels = Annotated[float, Field(allow_inf_nan=False, ge=-FURTHEST, le=FURTHEST)]


class _Shape(FileSchema):
    label: str
    points: list[Annotated[list[_Pixels], Field(min_length=2, max_length=2)]]
    shape_type: str | None = None
    mask: str | None = None


class _Outlines(FileSchema):
    imageHeight: _Side
    imageWidth: _Side
    shapes: list[_Shape]


def read_outlines(path: str | Path, ids: Mapping[str, int], ignored: int) -> np.ndarray:
    """Paint the outlines of a file, later ones over earlier ones: raw ids uint16 (H, W).

    What is in no outline is background: the id of a class of that name, or else ignored. Polygons, rectangles, circles
    and masks are painted; points and lines have no area and are left out. A rectangle is the box around its points.

    Args:
        ids: raw id of each class name.
        ignored: raw id of pixels that belong to no class.

    Raises:
        Unreadable: the file is missing, damaged or of another form.
        UnknownId: a label is not the name of a class.
    """
    content = _read(path)
    names = {name.lower(): name for name in ids}
    background = next((ids[names[name]] for name in BACKGROUND if name in names), ignored)
    canvas = Image.new("I", (content["imageWidth"], content["imageHeight"]), background)
    known = {IGNORED: ignored, **{normalize("NFC", name): raw for name, raw in ids.items()}}
    for number, shape in enumerate(content["shapes"]):
        label = shape["label"]
        if label not in known and label.lower() not in BACKGROUND:
            raise UnknownId(f"{path}: the label {label!r} belongs to no class; the classes are {', '.join(ids)}")
        try:
            _paint(canvas, shape, known.get(label, background))
        except ValueError as error:
            raise Unreadable(f"{path}: shapes.{number}: {error}; correct or remove it") from error
    return np.asarray(canvas).astype(np.uint16)


def outlined_size(path: str | Path) -> tuple[int, int]:
    """Return height and width of the photo of a file; errors as for `read_outlines`."""
    content = _read(path)
    return content["imageHeight"], content["imageWidth"]


def labels_in(path: str | Path) -> list[str]:
    """Return the labels that occur in a file; errors as for `read_outlines`."""
    return [shape["label"] for shape in _read(path)["shapes"]]


def _paint(canvas: Image.Image, shape: Mapping[str, Any], value: int) -> None:
    """Paint a shape. Raises ValueError if it is damaged or of an unknown type."""
    kind, points, draw = shape.get("shape_type") or "polygon", shape["points"], ImageDraw.Draw(canvas)
    if kind in NO_AREA:
        return
    if kind not in (*POLYGONS, "rectangle", "circle", "mask"):
        raise ValueError(f"its shape_type {shown(kind)} is unknown")
    least = 3 if kind in POLYGONS else 2
    if len(points) < least or (kind in ("circle", "mask") and len(points) > 2):
        raise ValueError(f"a {kind} of {plural(len(points), 'point')}")
    (left, top), (right, bottom) = np.min(points, 0).tolist(), np.max(points, 0).tolist()
    if min(left, top) >= 0 and max(right, bottom) <= 1 and not np.equal(np.mod(points, 1), 0).all():
        raise ValueError("its coordinates are from 0 to 1, expected pixels")
    if kind in POLYGONS:
        draw.polygon([(x, y) for x, y in points], fill=value, outline=value)
    elif kind == "rectangle":
        draw.rectangle((left, top, right, bottom), fill=value)
    elif kind == "circle":
        x, y = points[0]
        radius = math.dist(*points)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    else:
        place = int(left), int(top)
        mask = _decoded(shape.get("mask") or "", (int(right) - place[0] + 1, int(bottom) - place[1] + 1))
        canvas.paste(value, place, mask)


def _decoded(mask: str, size: tuple[int, int]) -> Image.Image:
    """Return the mask of a shape, a PNG in base64 that fills the box of its points: 0 or 255.

    Raises:
        ValueError: it is damaged, or of another size (width, height).
    """
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(mask)), formats=["PNG"])
        if picture.size == size:
            return Image.fromarray(np.where(np.asarray(picture.convert("L")) > 0, 255, 0).astype(np.uint8))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("its mask is not a PNG in base64") from error
    raise ValueError(f"its mask has {picture.width}x{picture.height} pixels, the box of its points {size[0]}x{size[1]}")


def _read(path: str | Path) -> dict[str, Any]:
    try:
        content = read_json(Path(path), EXPECTED, largest=math.inf)
        check_schema(_Outlines, content, path, f"not a file of labelme; {EXPECTED}")
    except UserError as error:
        raise Unreadable(str(error)) from error
    for number, shape in enumerate(content["shapes"]):
        shape["label"] = one_line(normalize("NFC", shape["label"]).strip())  # as in the names of classes
        if not shape["label"]:
            raise Unreadable(f"{path}: shapes.{number}: its label is empty; correct or remove it")
    return content
