"""Outlines of labelme: one JSON file per photo, https://github.com/wkentaro/labelme."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from data.labels import IGNORE_INDEX
from utils.checked import FileSchema, check_schema, read_json
from utils.errors import UnknownId, Unreadable, UserError

BACKGROUND = ("_background_", "background")
IGNORED = "__ignore__"
EXPECTED = 'expected {"imageHeight": 480, "imageWidth": 640, "shapes": [{"label": "cat", "points": [[x, y], ...]}]}'

_Side = Annotated[int, Field(gt=0, lt=2**15)]


class _Outlines(FileSchema):
    imageHeight: _Side
    imageWidth: _Side
    shapes: list[Any]


def read_outlines(path: str | Path, ids: Mapping[str, int]) -> np.ndarray:
    """Paint the outlines of a file, later ones over earlier ones: raw ids uint16 (H, W).

    What is in no outline is background: the id of a class of that name, or else 255. Polygons, rectangles and circles
    are painted; points and lines have no area and are left out.

    Args:
        ids: raw id of each class name.

    Raises:
        Unreadable: the file is missing, damaged or of another form.
        UnknownId: a label is not the name of a class.
    """
    content = _read(path)
    background = next((ids[name] for name in BACKGROUND if name in ids), IGNORE_INDEX)
    canvas = Image.new("I", (content["imageWidth"], content["imageHeight"]), background)
    draw = ImageDraw.Draw(canvas)
    try:
        for shape in content["shapes"]:
            label, kind = shape["label"], shape.get("shape_type") or "polygon"
            known = {**dict.fromkeys(BACKGROUND, background), IGNORED: IGNORE_INDEX, **ids}
            if label not in known:
                raise UnknownId(f"{path}: the label {label!r} is of no class; the classes are {', '.join(ids)}")
            points = [(float(x), float(y)) for x, y in shape["points"]]
            if kind == "polygon" and len(points) > 2:
                draw.polygon(points, fill=known[label], outline=known[label])
            elif kind == "rectangle":
                (left, right), (top, bottom) = (sorted(axis) for axis in zip(*points, strict=True))
                draw.rectangle((left, top, right, bottom), fill=known[label])
            elif kind == "circle":
                (x, y), edge = points
                radius = float(np.hypot(edge[0] - x, edge[1] - y))
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=known[label])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(f"{path}: not a file of labelme ({error!r}); {EXPECTED}") from error
    return np.asarray(canvas).astype(np.uint16)


def outlined_size(path: str | Path) -> tuple[int, int]:
    """Return height and width of the photo of a file; errors as `read_outlines`."""
    content = _read(path)
    return content["imageHeight"], content["imageWidth"]


def labels_in(path: str | Path) -> list[str]:
    """Return the labels that occur in a file; errors as `read_outlines`."""
    shapes = _read(path)["shapes"]
    return [str(shape["label"]) for shape in shapes if isinstance(shape, dict) and "label" in shape]


def _read(path: str | Path) -> dict[str, Any]:
    try:
        content = read_json(Path(path), EXPECTED, largest=math.inf)
        check_schema(_Outlines, content, path, f"not a file of labelme; {EXPECTED}")
    except UserError as error:
        raise Unreadable(str(error)) from error
    return content
