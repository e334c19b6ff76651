"""Tables for the console."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence

from terminaltables import AsciiTable

from utils.text import cleaned


def table(rows: Sequence[Sequence[str]], title: str | None = None) -> str:
    """Draw a table. The first row is the header; all columns but the first are right-aligned.

    A title wider than the table is put above it.
    Control characters are escaped, since texts may come from files.
    """
    title = cleaned(title or "")
    drawn = AsciiTable(_cleaned(rows), title)
    drawn.justify_columns = dict.fromkeys(range(1, len(rows[0])), "right")
    text = drawn.table
    return text if title in text.partition("\n")[0] else f"{title}\n{text}"  # AsciiTable would leave it out


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column of such a table in characters, with one of its borders."""
    return [width + 3 for width in AsciiTable(_cleaned(rows)).column_widths]


def _cleaned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[cleaned(cell) for cell in row] for row in rows]


WITHOUT_TERMINAL = 160
"""Width in characters of a table with many columns in a file or pipe."""


def terminal_width() -> int | None:
    """Return the width of the terminal in characters; None if stdout is not a terminal."""
    return shutil.get_terminal_size((0, 0)).columns or None if sys.stdout.isatty() else None


def epoch_table(row: Mapping[str, float], title: str) -> str:
    """Draw a table of losses and main metrics from a row of metrics.csv with a validation."""
    terms = [name.removeprefix("train/") for name in row if name.startswith("train/")]
    return table(
        [
            ["", *terms, "mIoU", "Dice", "pixel accuracy"],
            ["train", *(number(row[f"train/{term}"]) for term in terms), "", "", ""],
            [
                "val",
                *(number(row[f"val/{term}"]) if f"val/{term}" in row else "" for term in terms),
                *(number(row[f"val/{metric}"]) for metric in ("miou", "dice", "pixel_accuracy")),
            ],
        ],
        title,
    )


def epoch_line(row: Mapping[str, float], title: str) -> str:
    """Return a line with the title, losses and main metrics of a row of metrics.csv."""
    names = [name for name in row if name.startswith(("train/", "val/")) and not name.startswith("val/iou/")]
    return f"{title}: {', '.join(f'{name} {number(row[name])}' for name in names)}"


def number(value: float | None) -> str:
    """Format a number with four decimals; '-' for NaN and None."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Format seconds as '48 s', '3 min 20 s' or '2 h 5 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
