"""Compare runs in a table, with a column for each config key in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparison.columns import GROUPS, METRICS, default_columns, higher_is_better, shown, value_of
from comparison.runs import Run
from utils.errors import UserError

NOT_COMPARED = {"name", "notes", "resume", "trainer.threads"}
SIZES = {"data.size", "data.crop_size"}
"""Keys that are `data.image_size` unless they are set."""
Row = dict[str, Any]
"""Column -> text, number, or None if undefined.

A mean is followed by its standard deviation under `<column> +-`, and, if some of the runs lack a value, by a text such
as `1 of 2` under `<column> (runs)`; `n`, the number of runs averaged, by the number of runs in the group under `n of`.
"""


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """Return the config keys in which runs differ; `loss` if they chose different losses, and so on for each group.

    Keys of a group (such as a model's) count only if runs with the same option differ in them. Keys of transforms,
    most of which follow the image size, count only if runs with the same image size differ in them. Other sizes
    count only if they differ from the image size.
    """
    groups = [g for g in GROUPS[2:] if len({run.option(g) for run in runs} - {""}) > 1]
    seen: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        chosen = {group: run.option(group) for group in GROUPS}
        size = run.config.get("data.image_size")
        chosen["augmentation"] += f"{size} {run.config.get('data.crop_size')}"
        for key, value in run.config.items():
            group, _, rest = key.partition(".")
            if key in SIZES and value == size:
                value = "data.image_size"
            if key not in NOT_COMPARED and rest != "_target_":
                seen.setdefault(key, {}).setdefault(chosen.get(group, ""), set()).add(shown([value]))
    keys = [key for key, by_option in seen.items() if any(len(values) > 1 for values in by_option.values())]
    order = {group: place for place, group in enumerate(GROUPS)}
    return groups + sorted(keys, key=lambda key: order.get(key.partition(".")[0], -1))


def rows_of(runs: Sequence[Run], keys: Sequence[str], columns: Sequence[str] | None = None) -> list[Row]:
    """Return one row per run.

    Args:
        columns: after the name; None is `comparison.columns.default_columns`.
    """
    chosen = default_columns(runs, keys) if columns is None else dict.fromkeys(["name", *columns])
    return [{column: value_of(run, column) for column in chosen} for run in runs]


def against(baseline: Run, runs: Sequence[Run], names: Sequence[str]) -> list[Row]:
    """Return one row per class: the baseline's IoU at its best epoch, and the difference of each other run to it.

    Raises:
        UserError: the baseline has no validated epoch.
    """
    found = [key for key in baseline.row("best") if key.startswith("val/iou/")]
    if not found:
        raise UserError(f"baseline={baseline.path}: it has no validated epoch")
    named = list(zip(runs, names, strict=True))
    own = next((name for run, name in named if run is baseline), baseline.name)
    rows = []
    for key, title in [*((key, key.removeprefix("val/iou/")) for key in found), ("val/miou", "mIoU")]:
        base = baseline.best(key)
        row: Row = {"class": title, own: base}
        for run, name in named:
            if run is not baseline:
                value = run.best(key)
                row[name] = None if value is None or base is None else value - base
        rows.append(row)
    return rows


def sorted_by(rows: list[Row], column: str) -> list[Row]:
    """Return the rows sorted by a column, best first; columns without a best value ascend. Missing values are last."""
    column = METRICS.get(column, column)
    sign = -1 if higher_is_better(column) else 1

    def place(row: Row) -> tuple[bool, float, str]:
        value = row.get(column)
        return value is None, sign * value if isinstance(value, int | float) else 0.0, str(value)

    return sorted(rows, key=place)
