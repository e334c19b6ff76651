"""Learning curves for a report: metrics.csv as two tables, thinned if there are many numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from comparison.runs import Run, number_or_none

CELLS = 200_000  # most numbers of learning curves in a report, over all runs
FEWEST = 20  # epochs to keep of a run, however many runs there are
OVER = ("epoch", "step", "time")  # choices for the x axis

Table = dict[str, list[float | None]]


def thinning(runs: Sequence[Run]) -> int:
    """Return n such that the curves of the runs stay below `CELLS` numbers if one epoch in n is kept."""
    return math.ceil(sum(len(row) for run in runs for row in run.rows) / CELLS) or 1


def curves(run: Run, every: int) -> dict[str, Table]:
    """Return two tables from the columns of metrics.csv, with the elapsed `time` in seconds added.

    `curves` holds the training columns, `validations` the val/* columns, since most epochs of a run may have no
    validation. Each keeps one row in `every`, and the rows of the last and the best epoch.
    """
    # Accumulate before thinning, so that the time includes the epochs that are dropped.
    passed = itertools.accumulate(number_or_none(row.get("seconds")) or 0.0 for row in run.rows)
    rows = [{**row, "time": time} for row, time in zip(run.rows, passed, strict=True) if "epoch" in row]
    validated = [{k: v for k, v in row.items() if k in OVER or k.startswith("val/")} for row in rows]
    return {
        "curves": _thinned([{k: v for k, v in row.items() if not k.startswith("val/")} for row in rows], every, run),
        "validations": _thinned([row for row in validated if not row.keys() <= set(OVER)], every, run),
    }


def _thinned(rows: Sequence[dict[str, float]], every: int, run: Run) -> Table:
    every = min(every, len(rows) // FEWEST) or 1
    last = len(rows) - 1
    kept = [row for i, row in enumerate(rows) if i % every == 0 or i == last or row["epoch"] == run.best_epoch]
    columns = dict.fromkeys(itertools.chain.from_iterable(kept))
    return {column: [_rounded(row.get(column)) for row in kept] for column in columns}


def _rounded(value: float | None) -> float | None:
    """Round to five significant digits, more than a screen resolves. Integers keep all digits."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.5g}")
