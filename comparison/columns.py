"""The columns of a comparison: values of runs by name, conditions on them, and which value is the best."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from comparison.evaluations import evaluated, evaluations, validation_of
from comparison.runs import Run, number_or_none
from utils.config_values import listed
from utils.errors import UserError, did_you_mean

GROUPS = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "distill", "trainer")
RECIPE = "experiment"
METRICS = {"val/miou": "mIoU", "val/dice": "Dice"}
"""Metric -> the name of its column."""
OWN: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.name,
    "model": lambda run: run.option("model"),
    "data": lambda run: run.option("data"),
    "parameters": lambda run: run.number("parameters"),
    "MACs": lambda run: run.number("macs"),
    "mIoU": lambda run: run.best("val/miou"),
    "epoch": lambda run: run.best_epoch,
    "Dice": lambda run: run.best("val/dice"),
    "images/s": lambda run: run.last("images_per_second"),
    "seconds": lambda run: run.number("seconds"),
    "status": lambda run: run.status,
}
MEASURES = ("parameters", "MACs", "mIoU", "Dice", "images/s", "seconds")
"""Those of them that groups average."""
HIGHER = re.compile(
    r"(^|/)((miou|dice|pixel_accuracy|class_accuracy|frequency_weighted_iou|boundary_iou)$|(iou|dice|accuracy|benchmark)/)"
)
CONDITION = re.compile(r"([^=<>!]+)(!=|>=|<=|==?|>|<)(.*)", re.DOTALL)


def value_of(run: Run, column: str) -> Any:
    """Return the value of a column; None if the run has none.

    A column is a key of `OWN`, a config key or group, `experiment` (the recipe), a metric of the best epoch
    (`val/loss`) or of an evaluation (`test/miou`).
    """
    column = METRICS.get(column, column)
    if column in OWN:
        return OWN[column](run)
    if column in (*GROUPS, RECIPE):
        return run.option(column)
    if column in run.config:
        return run.config[column]
    if is_of_training(run, column):
        return run.best(column)
    return evaluated(run, column) if "/" in column else None


def is_of_training(run: Run, metric: str) -> bool:
    """Whether a metric is from the best epoch of the training, not from evaluate.py."""
    return metric in METRICS.values() or metric in run.row("best")


def checked_columns(runs: Sequence[Run], columns: Sequence[str], option: str) -> list[str]:
    """Return the names of columns, `mIoU` for `val/miou`.

    Raises:
        UserError: no run has one of them.
    """
    known = {*OWN, *METRICS, *GROUPS, RECIPE, *(key for run in runs for key in (*run.config, *run.row("best")))}
    for column in columns:
        if column in known or any(value_of(run, column) is not None for run in runs):
            continue
        stem, slash, _ = column.partition("/")
        hint = did_you_mean(column, known)
        if slash and not hint and not any(stem in evaluations(run) for run in runs):
            hint = f"; measure it first: python evaluate.py runs=<folder> {shlex.quote(f'split={stem}')}"
        raise UserError(f"{option}={column}: no run has this metric or key{hint}")
    return [METRICS.get(column, column) for column in columns]


def default_columns(runs: Sequence[Run], keys: Sequence[str]) -> list[str]:
    """Return the columns of a table: `OWN`, the keys, and the mIoU of splits that were evaluated."""
    own = [name for name in OWN if name not in ("model", "data")]
    stems = {stem for run in runs for stem in evaluations(run) if "_" not in stem and stem != validation_of(run)}
    place = own.index("mIoU") + 1
    numbers = [*own[1:place], *(f"{stem}/miou" for stem in sorted(stems)), *own[place:]]
    return list(dict.fromkeys(["name", "model", "data", *keys, *numbers]))


def title_of(column: str, columns: Iterable[str]) -> str:
    """Return the title of a column: `val/miou` for `mIoU` beside another mIoU, such as `test/miou`; also for Dice."""
    for metric, name in METRICS.items():
        if column == name and any(other.endswith(metric.removeprefix("val")) for other in columns):
            return metric
    return column


def is_score(column: str) -> bool:
    """Whether a column is a metric, shown with four decimals."""
    return column.endswith((*METRICS.values(),)) or ("/" in column and column != "images/s")


def metric_of(sort: str | None, columns: Sequence[str] | None) -> str:
    """Return the score that runs are compared by: `sort` if it is one, or the first score in `columns`, or mIoU."""
    scores = [METRICS.get(name, name) for name in (sort, *(columns or ())) if name is not None]
    return next((name for name in scores if is_score(name)), "mIoU")


def higher_is_better(column: str) -> bool:
    """Whether the highest value of a column is the best one."""
    return column.endswith((*METRICS.values(), "images/s")) or HIGHER.search(column) is not None


def selected(runs: Sequence[Run], where: str | Sequence[str] | None) -> list[Run]:
    """Return the runs that meet all conditions, such as `data=folder` and `optimizer.lr>0.001`.

    Raises:
        UserError: a condition has another form, or no run has its key, or none meets them.
    """
    conditions = listed(where)
    kept = list(runs)
    for condition in conditions:
        found = CONDITION.fullmatch(condition)
        if found is None:
            raise UserError(
                f"where={condition}: must be <key>=<value>, or with !=, <, <=, > or >=; in quotes: 'optimizer.lr>0.001'"
            )
        key, sign, wanted = (part.strip() for part in found.groups())
        checked_columns(runs, [key], "where")
        kept = [run for run in kept if _meets(value_of(run, key), sign, wanted)]
    if conditions and runs and not kept:
        values = sorted({shown(value_of(run, key)) for run in runs})[:6]
        raise UserError(f"where={', '.join(conditions)}: no run meets this; {key} is {', '.join(values)}")
    return kept


def _meets(value: Any, sign: str, wanted: str) -> bool:
    number = number_or_none(value)
    first = math.nan if number is None else number  # of which no comparison is true
    try:
        second = float(wanted)
    except ValueError:
        second = math.nan
    equal = shown(value) == wanted or first == second
    order = {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}
    return {"=": equal, "==": equal, "!=": not equal, **order}[sign]


def shown(value: Any) -> str:
    """Return a config value as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
