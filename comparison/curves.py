"""Learning curves for a report: metrics.csv as two tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from comparison.runs import Run, number_or_none

OVER = ("epoch", "step", "time")  # choices for the x axis

Table = dict[str, list[float | None]]


def curves(run: Run) -> dict[str, Table]:
    """Return two tables from the columns of metrics.csv, with the elapsed `time` in seconds added.

    `curves` holds the training columns, `validations` the val/* columns, since most epochs of a run may have no
    validation.
    """
    passed = itertools.accumulate(number_or_none(row.get("seconds")) or 0.0 for row in run.rows)
    rows = [{**row, "time": time} for row, time in zip(run.rows, passed, strict=True) if "epoch" in row]
    validated = [{k: v for k, v in row.items() if k in OVER or k.startswith("val/")} for row in rows]
    return {
        "curves": _by_column([{k: v for k, v in row.items() if not k.startswith("val/")} for row in rows]),
        "validations": _by_column([row for row in validated if not row.keys() <= set(OVER)]),
    }


def _by_column(rows: Sequence[dict[str, float]]) -> Table:
    columns = dict.fromkeys(itertools.chain.from_iterable(rows))
    return {column: [_rounded(row.get(column)) for row in rows] for column in columns}


def _rounded(value: float | None) -> float | None:
    """Round to five significant digits, more than a screen resolves. Integers keep all digits."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.5g}")
