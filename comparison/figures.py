"""Read the confusion matrix and the pictures of samples from the `figures/` of a run."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from comparison.runs import Run, number_or_none
from utils.errors import UserError
from utils.safe_reading import plain_copy, read_json, read_text
from utils.text import cleaned

LARGEST = 400_000  # bytes of a picture; larger ones are not put into a report
ENDINGS = {b"\x89PNG": ("image/png", b"IEND\xaeB`\x82"), b"\xff\xd8\xff": ("image/jpeg", b"\xff\xd9")}


class Picture(NamedTuple):
    """A validation sample with a run's prediction.

    Attributes:
        number: the sample's index in its split.
        digest: digest of the truth; two runs have the same sample if name and digest are equal.
        wrong, miou: share of wrong pixels, and mIoU; None if unknown.
        image, truth, prediction: data URLs.
    """

    number: int
    name: str
    digest: str
    wrong: float | None
    miou: float | None
    image: str
    truth: str
    prediction: str


def confusion(run: Run) -> dict[str, Any] | None:
    """Return the best epoch's {"classes": names, "counts": rows of pixels, row = truth}; None if it cannot be read."""
    try:
        head, *rows = csv.reader(io.StringIO(read_text(run.path / "figures" / "confusion_matrix.csv")))
        counts = [[int(count) for count in row[1:]] for row in rows]
    except (UserError, ValueError, csv.Error):
        return None
    classes = head[1:]
    square = len(counts) == len(classes) > 0 and all(len(row) == len(classes) for row in counts)
    return {"classes": classes, "counts": counts} if square else None


def pictures(run: Run) -> tuple[list[Picture], list[dict[str, Any]]]:
    """Return the samples in figures/samples/, and the classes as {"name", "color": [r, g, b]}; empty if there are none.

    Samples with a missing or damaged file are skipped.
    """
    folder = run.path / "figures" / "samples"
    try:
        index = plain_copy(read_json(folder / "index.json"), cleaned)
        classes = [
            {"name": str(entry["name"]), "color": [int(part) for part in entry["color"][:3]]}
            for entry in index["classes"]
        ]
        entries = list(index["samples"])
    except (UserError, ValueError, TypeError, KeyError, OverflowError):
        return [], []
    found = []
    for entry in entries:
        try:
            image, truth, prediction = (_data_url(folder, entry[part]) for part in ("image", "truth", "prediction"))
            wrong, miou = number_or_none(entry["wrong"]), number_or_none(entry["miou"])
            number, name, digest = int(entry["number"]), str(entry["name"]), str(entry["digest"])
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            continue
        found.append(Picture(number, name, digest, wrong, miou, image, truth, prediction))
    return found, classes


def _data_url(folder: Path, name: str) -> str:
    """Return a picture in a folder as a data URL.

    Raises:
        ValueError: not a complete, small PNG or JPEG in this folder.
    """
    path = folder / name
    if path.name != name or not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(name)
    content = path.read_bytes()
    for start, (kind, end) in ENDINGS.items():
        if content.startswith(start) and content.endswith(end):
            return f"data:{kind};base64,{base64.b64encode(content).decode()}"
    raise ValueError(name)
