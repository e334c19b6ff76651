"""Readable names of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from comparison.columns import shown, value_of
from comparison.runs import Run

LONGEST_NAME = 200  # characters


def short_names(runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """Return a readable name of each run: its `name` or model, and the values in which runs of the same name differ.

    A `name` that all runs share, as the jobs of a sweep do, is left out.
    """
    given = [text_or_none(run.summary.get("name")) for run in runs]
    if len(runs) > 1 and len(set(given)) == 1:
        given = [None] * len(runs)
    names = [name or run.option("model") or run.name for name, run in zip(given, runs, strict=True)]
    names = [name.replace("\n", " ") for name in names]
    alike = dict[str, list[dict[str, Any]]]()
    rows = [{key: value_of(run, key) for key in ("model", "data", *keys)} for run in runs]
    for name, row in zip(names, rows, strict=True):
        alike.setdefault(name, []).append(row)
    tells = {
        name: [key for key in ("model", "data", *keys) if len({shown(row[key]) for row in others}) > 1][:3]
        for name, others in alike.items()
    }
    longer = [
        ", ".join([name, *(f"{key.rpartition('.')[2]} {shown(row[key])}" for key in tells[name])])
        for name, row in zip(names, rows, strict=True)
    ]
    shared, numbers = Counter(longer), Counter[str]()
    for i, name in enumerate(longer):
        numbers[name] += 1
        if shared[name] > 1:
            longer[i] = f"{name} ({numbers[name]})"
    return longer


def text_or_none(value: Any, longest: int = LONGEST_NAME) -> str | None:
    """Return a value of a summary as a short text; None if it is missing."""
    return None if value is None else shortened(str(value), longest)


def shortened(value: Any, longest: int) -> Any:
    """Cut a long text; return anything else unchanged."""
    return f"{value[: longest - 1]}…" if isinstance(value, str) and len(value) > longest else value
