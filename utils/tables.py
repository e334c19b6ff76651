"""Tables for the console."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence

from terminaltables import AsciiTable

from utils.text import cleaned


def table(rows: Sequence[Sequence[str]], title: str | None = None) -> str:
    """A table whose first row is the header; every column but the first is aligned to the right.

    Texts may come from anywhere: what a terminal would act on is spelled.
    """
    drawn = AsciiTable(_cleaned(rows), title and cleaned(title))
    drawn.justify_columns = dict.fromkeys(range(1, len(rows[0])), "right")
    return drawn.table


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """How many characters of a line each column of such a table takes, with one of its borders."""
    return [width + 3 for width in AsciiTable(_cleaned(rows)).column_widths]


def _cleaned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[cleaned(cell) for cell in row] for row in rows]


def terminal_width() -> int | None:
    """Characters of a line of the terminal that stdout is; None where it is none, or does not tell."""
    return shutil.get_terminal_size((0, 0)).columns or None if sys.stdout.isatty() else None


def epoch_table(row: Mapping[str, float], title: str) -> str:
    """Losses by term, and the main metrics, of a row of metrics.csv with a validation."""
    terms = [name.removeprefix("train/") for name in row if name.startswith("train/")]
    return table(
        [
            ["", *terms, "mIoU", "Dice", "pixel accuracy"],
            ["train", *(number(row[f"train/{term}"]) for term in terms), "", "", ""],
            [
                "val",
                *(number(row[f"val/{term}"]) for term in terms),
                *(number(row[f"val/{metric}"]) for metric in ("miou", "dice", "pixel_accuracy")),
            ],
        ],
        title,
    )


def class_table(
    names: Sequence[str], metrics: Mapping[str, Sequence[float]], shares: Sequence[float], title: str
) -> str:
    """A row a class with its share of the pixels and its metrics, then the means; '-' where undefined."""
    rows = [["class", "pixels", *metrics]]
    for i, name in enumerate(names):
        rows.append([name, f"{shares[i]:.2%}", *(number(values[i]) for values in metrics.values())])
    known = [[value for value in values if not math.isnan(value)] for values in metrics.values()]
    rows.append(["mean", "", *(number(sum(values) / len(values) if values else math.nan) for values in known)])
    return table(rows, title)


def number(value: float) -> str:
    """Four decimals, '-' for NaN."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def duration(seconds: float) -> str:
    """'48 s', '3 min 20 s', '2 h 5 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
