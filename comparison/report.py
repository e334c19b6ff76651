"""Write the comparison as one self-contained HTML file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison.report_data import add_pictures, gathered
from comparison.runs import Run
from utils.errors import UserError
from utils.files import make_writable, write_text
from utils.paths import is_folder

HERE = Path(__file__).parent
SCRIPTS = ("base", "table", "differences", "curves", "cost", "classes", "config", "pictures", "start")
LIBRARY = HERE / "vendor" / "plotly-cartesian.min.js"
SIZE = 4_900_000  # bytes to fill with pictures at most
LEAST = 500_000  # bytes for pictures, however large the rest is


def check_place(path: Path) -> None:
    """Check that a report can be written, before any work is done.

    Raises:
        UserError: not an .html file, or not writable.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"report={path}: must end in .html, such as report=report.html")
    if is_folder(path):
        raise UserError(f"report={path}: a folder has this name; choose another file name")
    if not is_folder(path.parent):
        raise UserError(f"report={path}: there is no folder {path.parent}; create it, or choose another folder")
    make_writable(path.parent)


def write_report(path: Path, runs: Sequence[Run], skipped: Sequence[str], source: str, **choices: Any) -> int:
    """Write the report, replacing an existing one, and return its size in bytes.

    Args:
        skipped: why other folders are not in the report.
        source: the folder or pattern that the runs come from.
        choices: `sort`, `columns`, `group_by` and `baseline`, as for `comparison.tables.tables_of`.

    Raises:
        UserError: it cannot be written, or a choice is invalid.
    """
    data, ordered = gathered(runs, skipped, source, **choices)
    add_pictures(data, ordered, max(SIZE - len(page(data)), LEAST))
    text = page(data)
    write_text(path, text)
    return len(text.encode())


def page(data: dict[str, Any]) -> str:
    """Return the whole page with the data, scripts, styles and the plotting library embedded."""
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
    """Return JSON that is safe inside a <script>, whatever its texts: ASCII without <, > and &."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
