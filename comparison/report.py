"""The comparison as one HTML file, which needs nothing but a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison.report_data import add_pictures, as_json, gathered
from comparison.runs import Run
from utils.errors import UserError
from utils.files import make_writable
from utils.paths import is_folder
from utils.run_folder import write_text

HERE = Path(__file__).parent
SCRIPTS = ("base", "table", "curves", "cost", "classes", "config", "pictures", "start")
LIBRARY = HERE / "vendor" / "plotly-cartesian.min.js"
SIZE = 4_900_000  # bytes that a report has at most, as far as pictures make it large
LEAST = 500_000  # of them for pictures, however much else there is


def check_place(path: Path) -> None:
    """Sees whether a report can be written, before the work.

    Raises:
        UserError: it cannot.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"report={path}: should end in .html, as in report=report.html")
    if is_folder(path):
        raise UserError(f"report={path}: a folder is in the way; name another file")
    if not is_folder(path.parent):
        raise UserError(f"report={path}: there is no folder {path.parent}; make it, or name another place")
    make_writable(path.parent)


def write_report(path: Path, runs: Sequence[Run], skipped: Sequence[str], source: str, **choices: Any) -> int:
    """Writes the report, over one that is there; returns its size in bytes.

    Args:
        choices: `sort`, `group_by` and `baseline`, as `comparison.report_data.gathered` takes them.

    Raises:
        UserError: it cannot be written, or a choice is none.
    """
    data, ordered = gathered(runs, skipped, source, **choices)
    add_pictures(data, ordered, max(SIZE - len(page(data)), LEAST))
    text = page(as_json(data))
    write_text(path, text)
    return len(text.encode())


def page(data: dict[str, Any]) -> str:
    """The whole page around the data, with its scripts, styles and the plotting library inside."""
    folder = HERE / "page"
    parts = {
        "style": (folder / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
        "library": LIBRARY.read_text(encoding="utf-8"),
        "data": embedded(data),
    }
    template = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def embedded(data: dict[str, Any]) -> str:
    """JSON that may stand inside a <script>, whatever texts are in it: ASCII without <, > and &."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
