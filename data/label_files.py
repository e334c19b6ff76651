"""Files that name the classes of a user's own masks: labels.json, and what labelling tools export."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from data.labels import IGNORE_INDEX, Color, LabelSet, voc_colors
from utils.errors import UserError
from utils.paths import is_file, is_there, read_bytes
from utils.text import decoded, shown

EXAMPLE = '{"0": {"class": "background", "color": [0, 0, 0]}, "1": {"class": "cat", "color": [128, 0, 0]}}'
WHITE = (255, 255, 255)  # ignored, in masks of colours
NO_CLASS = 65535  # stands for what is to be ignored where 255 is a class and no other id is ignored
LABELS, LABELMAP, CLASSES = "labels.json", "labelmap.txt", "_classes.csv"
"""The project's own format, CVAT's and Roboflow's."""


def labels_path(folders: list[Path]) -> Path:
    """Return the first labels file in some folders; `labels.json` in the first folder if there is none."""
    places = [folder / name for folder in folders for name in (LABELS, LABELMAP, CLASSES)]
    return next((path for path in places if is_file(path)), places[0])


class NamedIds(NamedTuple):
    """The content of a labels file.

    Attributes:
        train_ids: class index of each id; several ids may be of one class.
        labels: their names and colours.
        ignored: ids of pixels that belong to no class.
        colors: raw id of each colour, of classes and of what is ignored.
    """

    train_ids: dict[int, int]
    labels: LabelSet
    ignored: tuple[int, ...]
    colors: dict[Color, int]


def read_labels(path: Path) -> NamedIds:
    """Read a labels file.

    Args:
        path: a JSON file {"0": {"class": "background", "color": [0, 0, 0]}, ...}, possibly with "ignore": [<id or
            colour>, ...]; a `labelmap.txt` from CVAT; or a `_classes.csv` from Roboflow, which has no colours. Ids
            with the same name and colour are merged into one class.

    Raises:
        UserError: it is missing or of another form.
    """
    if not is_there(path):
        draft = f"python -m tools.scan_labels {shlex.quote(f'root={path.parent}')} writes a draft"
        raise UserError(f"{path}: there is no such labels file; {draft}; expected {EXAMPLE}")
    encoded = read_bytes(path)
    try:
        text = decoded(encoded)
        content = {".txt": _labelmap, ".csv": _classes}.get(path.suffix.lower(), _json)(text)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not ids with names and colours")
        ignore = content.pop("ignore", [])
        class_of: dict[int, tuple[str, Color]] = {}
        for key, entry in content.items():
            if _id(key) in class_of:
                raise ValueError("two keys are the same id, such as 1 and 01")
            if not isinstance(entry, dict) or not {"class", "color"} <= entry.keys():
                raise ValueError(f"id {key} has no 'class' or no 'color'")
            if not isinstance(entry["class"], str):
                raise ValueError(f"the name of id {key} is not a string")
            name = normalize("NFC", entry["class"]).strip()
            if not name:
                raise ValueError(f"id {key} has an empty name")
            class_of[_id(key)] = name, _color(entry["color"])
        classes: dict[tuple[str, Color], int] = {}  # and their first ids
        for i in sorted(class_of):
            classes.setdefault(class_of[i], i)
        names, colors = tuple(name for name, _ in classes), tuple(color for _, color in classes)
        own = tuple(classes.values())
        if len(set(names)) < len(names):
            raise ValueError(f"class names repeat: {', '.join(names)}; ids of the same colour are merged")
        if len(set(colors)) < len(colors):
            raise ValueError("two classes have the same colour")
        labels = LabelSet(names, colors, own if own != tuple(range(len(own))) else None)
        train_ids = {i: names.index(class_of[i][0]) for i in sorted(class_of)}
        ignored, ignored_colors = _to_ignore(ignore, class_of.keys(), colors)
        return NamedIds(train_ids, labels, ignored, ignored_colors | dict(zip(colors, own, strict=True)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a labels file ({shown(str(error), 200)}); expected {EXAMPLE}") from error


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dictionary of pairs. Raises ValueError if a key occurs twice."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' occurs twice")
    return dict(pairs)


def _labelmap(text: str) -> dict[str, Any]:
    """Convert CVAT's `labelmap.txt`: lines of label:red,green,blue:parts:actions, in the order of the ids."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {
        str(i): {"class": name, "color": [int(part) for part in color.split(",")]}
        for i, (name, color, *_) in enumerate(line.split(":") for line in lines)
    }


def _classes(text: str) -> dict[str, Any]:
    """Convert Roboflow's `_classes.csv`: lines of value and name, after a heading."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row][1:]
    colors = voc_colors(256)
    return _distinct([(value, {"class": name, "color": list(colors[_id(value) % 256])}) for value, name in rows])


def _id(key: str) -> int:
    if not key.isascii() or not key.isdigit() or int(key) >= NO_CLASS:
        raise ValueError(f"'{key}' is not an id, from 0 to {NO_CLASS - 1}")
    return int(key)


def _color(value: Any) -> Color:
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise ValueError(f"{value} is not a colour, which is three whole numbers from 0 to 255")
    return value[0], value[1], value[2]


def _to_ignore(
    entries: Any, ids: Collection[int], colors: Collection[Color]
) -> tuple[tuple[int, ...], dict[Color, int]]:
    """Return the ids to ignore, and an id for each colour to ignore: 255 and white, too, unless 255 is a class."""
    if not isinstance(entries, list):
        raise ValueError("'ignore' is a list of ids and colours")
    ignored = [entry for entry in entries if type(entry) is int]
    if not all(0 <= i < NO_CLASS for i in ignored):
        raise ValueError(f"'ignore': ids are 0 to {NO_CLASS - 1}")
    also = [_color(entry) for entry in entries if type(entry) is not int]
    for entry in [*ignored, *also]:
        if entry in ids or entry in colors:
            raise ValueError(f"'ignore': {entry} is the id or colour of a class")
    if IGNORE_INDEX not in ids:
        ignored.append(IGNORE_INDEX)
        also += [] if WHITE in colors else [WHITE]
    elif not ignored:
        ignored.append(NO_CLASS)
    # White goes with 255, other colours with the first id of the list.
    return tuple(ignored), {c: IGNORE_INDEX if c == WHITE and IGNORE_INDEX in ignored else ignored[0] for c in also}
