"""The data set of each run, told by its name or by its samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from comparison.columns import shown
from comparison.runs import Run


def data_sets_of(runs: Iterable[Run]) -> list[str]:
    """Return a name for the data set of each run; runs of different data sets are not ranked in one table.

    Folders with the same validation samples, such as one that was moved, get the name of the first of them.
    """
    names = []
    first: dict[tuple[Any, ...], str] = {}
    for run in runs:
        name, classes = run.option("data"), run.config.get("data.classes")
        labels = "" if classes is None else f", {shown(classes)} classes"
        if run.config.get("data._target_") == "data.folder.Folder":
            folder = f"{name} {run.config.get('data.root')}"
            samples = samples_of(run, "validation")
            name = first.setdefault((name, labels, samples), folder) if samples else folder
        names.append(name + labels)
    return names


def by_data_set(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each data set, by its name."""
    found: dict[str, list[Run]] = {}
    for run, name in zip(runs, data_sets_of(runs), strict=True):
        found.setdefault(name, []).append(run)
    return found


def samples_of(run: Run, split: str) -> str:
    """Return the fingerprint of the samples of `train` or `validation`, whatever their folder; '' if unknown."""
    splits = run.summary.get("samples")
    found = splits.get(split) if isinstance(splits, dict) else None
    return str(found.get("sha256") or "") if isinstance(found, dict) else ""
