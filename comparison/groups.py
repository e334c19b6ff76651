"""Groups of runs that differ only in chosen keys: their means, and folds pooled."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from comparison.columns import GROUPS, MEASURES, default_columns, is_score, shown, value_of
from comparison.data_sets import samples_of
from comparison.figures import confusion
from comparison.rows import Row, rows_of
from comparison.run_names import short_names
from comparison.runs import Run
from utils.errors import UserError, did_you_mean
from utils.text import plural

FOLD = "data.fold"


class Group(NamedTuple):
    """Runs that differ only in the keys they are grouped by."""

    label: str
    runs: list[Run]


def check_group_by(runs: Sequence[Run], group_by: Sequence[str]) -> None:
    """Check that runs can be grouped by some keys.

    Raises:
        UserError: no run has a key.
    """
    for key in group_by:
        if key not in GROUPS and not any(key in run.config for run in runs):
            known = {*GROUPS, *(other for run in runs for other in run.config)}
            raise UserError(f"group_by={key}: no run has this key{did_you_mean(key, known)}")


def groups_of(runs: Sequence[Run], keys: Sequence[str], group_by: Sequence[str]) -> list[Group]:
    """Group the runs that differ only in some keys, or options of groups such as `loss`.

    Args:
        keys: the keys in which any of the runs differ.
    """
    others = [key for key in ("model", "data", *keys) if not _belongs(key, group_by)]
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(shown([_identity(run, key) for key in others]), []).append(run)
    labels = short_names([members[0] for members in alike.values()], [key for key in others if key in keys])
    return [Group(label, members) for label, members in zip(labels, alike.values(), strict=True)]


def _identity(run: Run, key: str) -> Any:
    """Return the value that groups runs by a key: for the data folder its content, since it may have been moved."""
    samples = [samples_of(run, split) for split in ("train", "validation")] if key == "data.root" else []
    return samples if samples and all(samples) else value_of(run, key)


def _belongs(key: str, group_by: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in group_by)


def grouped(
    runs: Sequence[Run], keys: Sequence[str], group_by: Sequence[str], columns: Sequence[str] | None = None
) -> list[Row]:
    """Return one row per group: means and sample standard deviations.

    Means are over the `n` runs with an mIoU, or over all runs of the group (`n of`) if none has one.
    """
    keys = [key for key in keys if not _belongs(key, group_by)]
    chosen = default_columns(runs, keys) if columns is None else list(columns)
    return [_group_row(group, keys, group_by, chosen, columns is not None) for group in groups_of(runs, keys, group_by)]


def counted_runs(group: Group) -> list[Run]:
    """Return the runs of a group that have an mIoU; others may have failed at once."""
    return [run for run in group.runs if run.best("val/miou") is not None]


def _group_row(group: Group, keys: Sequence[str], group_by: Sequence[str], columns: Sequence[str], named: bool) -> Row:
    counted = counted_runs(group)
    each = rows_of(counted or group.runs, keys, columns)
    row: Row = {"group": group.label} if named else {}
    row |= {"n": len(counted), "n of": len(group.runs)}
    for column in columns:
        values = [member[column] for member in each if member[column] is not None]
        if column in ("name", "epoch"):
            continue
        if column == "status":
            row[column] = ", ".join(dict.fromkeys(run.status for run in group.runs))
        elif column in MEASURES or is_score(column):
            if values:
                row[column], row[f"{column} +-"] = mean_and_deviation(values)
            if 0 < len(values) < len(each):
                row[f"{column} (runs)"] = f"{len(values)} of {len(each)}"
        elif len({shown(member[column]) for member in each}) == 1:
            row[column] = each[0][column]
        elif not _belongs(column, group_by) or named:
            row[column] = ", ".join(dict.fromkeys(map(shown, values)))
    if FOLD in group_by:
        row["pooled mIoU"] = pooled_ious(group.runs).get("mIoU")
    return row


def mean_and_deviation(numbers: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation; None where undefined."""
    try:
        return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None
    except OverflowError:
        return None, None


def pooled_ious(runs: Sequence[Run]) -> dict[str, float | None]:
    """Return the IoU of each class, and the `mIoU`, of the sum of the runs' confusion matrices.

    {} if a run has no matrix or other classes. None for a class that is neither present nor predicted.
    """
    matrices = [matrix for run in runs if (matrix := confusion(run)) is not None]
    classes = matrices[0]["classes"] if matrices else []
    if len(matrices) < len(runs) or any(matrix["classes"] != classes for matrix in matrices):
        return {}
    rows = zip(*(matrix["counts"] for matrix in matrices), strict=True)
    counts = [list(map(sum, zip(*parts, strict=True))) for parts in rows]
    ious: dict[str, float | None] = {}
    for i, name in enumerate(classes):
        union = sum(counts[i]) + sum(row[i] for row in counts) - counts[i][i]
        ious[name] = counts[i][i] / union if union else None
    known = [iou for iou in ious.values() if iou is not None]
    return ious | {"mIoU": sum(known) / len(known) if known else None}


def fold_rows(groups: Sequence[Group]) -> list[Row]:
    """Return one row per class: for each group the mean over folds, and the IoU of all held-out photos together."""
    pooled = [pooled_ious(group.runs) for group in groups]
    classes = dict.fromkeys(
        key.removeprefix("val/iou/")
        for group in groups
        for run in group.runs
        for key in run.row("best")
        if "/iou/" in key
    )
    rows: list[Row] = []
    for name in (*classes, "mIoU"):
        metric = "val/miou" if name == "mIoU" else f"val/iou/{name}"
        row: Row = {"class": name}
        for group, ious in zip(groups, pooled, strict=True):
            prefix = f"{group.label}: " if len(groups) > 1 else ""
            values = [value for run in group.runs if (value := run.best(metric)) is not None]
            mean, deviation = mean_and_deviation(values) if values else (None, None)
            row |= {f"{prefix}mean": mean, f"{prefix}mean +-": deviation}
            row[f"{prefix}pooled"] = ious.get(name)
        rows.append(row)
    return rows


def missing_folds(groups: Sequence[Group]) -> list[str]:
    """Return a message for each group that lacks folds."""
    messages = []
    for group in groups:
        folds = group.runs[0].config.get("data.folds")
        done = {run.config.get(FOLD) for run in counted_runs(group)}
        lacking = [str(fold) for fold in range(folds) if fold not in done] if isinstance(folds, int) else []
        if lacking:
            messages.append(f"{group.label}: fold {', '.join(lacking)} of {folds} is missing")
    return messages


def unfinished_note(groups: Sequence[Group]) -> str:
    """Return a line that names the unfinished runs whose scores count in groups; '' if all finished."""
    described = [text for group in groups for text in unfinished_in(group)]
    if not described:
        return ""
    them = f"{plural(len(described), 'unfinished run')}: {', '.join(described)}"
    return f"the means include {them}; where='status=finished' leaves {'them' if len(described) > 1 else 'it'} out"


def unfinished_in(group: Group) -> list[str]:
    """Return name, status and last epoch of each unfinished run whose score counts in the mean of a group."""
    described = []
    for run in counted_runs(group):
        if run.status != "finished":
            epoch, epochs = run.last("epoch"), run.config.get("trainer.epochs")
            described.append(f"{run.name} ({run.status}{f' after epoch {epoch:g} of {epochs}' if epoch else ''})")
    return described
