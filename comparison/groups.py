"""Groups of runs that differ only in chosen keys: means, differences between groups, and folds together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from comparison.columns import GROUPS, default_columns, higher_is_better, is_measure, shown, value_of
from comparison.evaluations import counts_of, validation_of
from comparison.figures import confusion
from comparison.labels import short_names
from comparison.runs import Run, number_or_none
from comparison.table import Row, rows_of
from utils.errors import UserError, did_you_mean
from utils.text import plural

if TYPE_CHECKING:
    from comparison.significance import Counts, Interval

FOLD = "data.fold"


class Group(NamedTuple):
    """Runs that differ only in the keys they are grouped by."""

    label: str
    runs: list[Run]


class Difference(NamedTuple):
    """How the metric of a group differs from that of the reference.

    Attributes:
        value: difference of the means; None if either has none.
        seeds, photos: with an interval; None where there is a note why not.
    """

    value: float | None
    seeds: Interval | None
    seeds_note: str
    photos: Interval | None
    photos_note: str

    @property
    def marks(self) -> str:
        """`*` if the difference is clear over seeds, `+` if it is over photos."""
        clear = (("*", self.seeds), ("+", self.photos))
        return "".join(mark for mark, interval in clear if interval is not None and interval.is_clear)


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
        alike.setdefault(shown([value_of(run, key) for key in others]), []).append(run)
    labels = short_names([members[0] for members in alike.values()], [key for key in others if key in keys])
    return [Group(label, members) for label, members in zip(labels, alike.values(), strict=True)]


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


def _group_row(group: Group, keys: Sequence[str], group_by: Sequence[str], columns: Sequence[str], named: bool) -> Row:
    counted = [run for run in group.runs if number_or_none(run.best("val/miou")) is not None]
    each = rows_of(counted or group.runs, keys, columns)
    row: Row = {"group": group.label} if named else {}
    row |= {"n": len(counted), "n of": len(group.runs)}
    for column in columns:
        values = [member[column] for member in each if member[column] is not None]
        if column in ("name", "epoch"):
            continue
        if column == "status":
            row[column] = ", ".join(dict.fromkeys(run.status for run in group.runs))
        elif is_measure(column):
            if values:
                row[column], row[f"{column} +-"] = mean_and_deviation(values)
        elif len({shown(member[column]) for member in each}) == 1:
            row[column] = each[0][column]
        elif not _belongs(column, group_by) or named:
            row[column] = ", ".join(dict.fromkeys(map(shown, values)))
    if FOLD in group_by:
        row["pooled mIoU"] = pooled_miou(pooled(group.runs))
    return row


def mean_and_deviation(numbers: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation; None where undefined."""
    try:
        return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None
    except OverflowError:
        return None, None


def pooled(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return the sum of the runs' confusion matrices, as `comparison.figures.confusion`; None if one has none."""
    found = [confusion(run) for run in runs]
    first = found[0] if found else None
    if first is None or any(other is None or other["classes"] != first["classes"] for other in found):
        return None
    matrices = [other["counts"] for other in found if other is not None]
    return {
        "classes": first["classes"],
        "counts": [list(map(sum, zip(*rows, strict=True))) for rows in zip(*matrices, strict=True)],
    }


def ious_of(matrix: dict[str, Any] | None) -> dict[str, float | None]:
    """Return the IoU of each class of a confusion matrix; None for a class that is neither present nor predicted."""
    if matrix is None:
        return {}
    counts, ious = matrix["counts"], dict[str, float | None]()
    for i, name in enumerate(matrix["classes"]):
        union = sum(counts[i]) + sum(row[i] for row in counts) - counts[i][i]
        ious[name] = counts[i][i] / union if union else None
    return ious


def pooled_miou(matrix: dict[str, Any] | None) -> float | None:
    """Return the mean IoU of a confusion matrix; None if it is undefined."""
    known = [iou for iou in ious_of(matrix).values() if iou is not None]
    return sum(known) / len(known) if known else None


def fold_rows(groups: Sequence[Group]) -> list[Row]:
    """Return one row per class: for each group the mean over folds, and the IoU of all held-out photos together."""
    together = [ious_of(pooled(group.runs)) for group in groups]
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
        for group, ious in zip(groups, together, strict=True):
            prefix = f"{group.label}: " if len(groups) > 1 else ""
            values = [value for run in group.runs if (value := number_or_none(run.best(metric))) is not None]
            mean, deviation = mean_and_deviation(values) if values else (None, None)
            row |= {f"{prefix}mean": mean, f"{prefix}mean +-": deviation}
            row[f"{prefix}pooled"] = pooled_miou(pooled(group.runs)) if name == "mIoU" else ious.get(name)
        rows.append(row)
    return rows


def missing_folds(groups: Sequence[Group]) -> list[str]:
    """Return a message for each group that lacks folds."""
    messages = []
    for group in groups:
        folds = group.runs[0].config.get("data.folds")
        done = {run.config.get(FOLD) for run in group.runs if number_or_none(run.best("val/miou")) is not None}
        lacking = [str(fold) for fold in range(folds) if fold not in done] if isinstance(folds, int) else []
        if lacking:
            messages.append(f"{group.label}: fold {', '.join(lacking)} of {folds} is missing")
    return messages


def reference_of(groups: Sequence[Group], metric: str, baseline: Run | None) -> int | None:
    """Return the index of the group of the baseline, or else of the best group; None if no group has the metric."""
    for index, group in enumerate(groups):
        if baseline is not None and any(run is baseline for run in group.runs):
            return index
    means = [(mean, -index) for index, group in enumerate(groups) if (mean := _mean(group, metric)) is not None]
    if not means:
        return None
    return -(max(means) if higher_is_better(metric) else min(means, key=lambda pair: (pair[0], -pair[1])))[1]


def _values(group: Group, metric: str) -> list[float]:
    return [value for run in group.runs if (value := value_of(run, metric)) is not None]


def _mean(group: Group, metric: str) -> float | None:
    values = _values(group, metric)
    return mean_and_deviation(values)[0] if values else None


def difference(group: Group, reference: Group, metric: str, group_by: Sequence[str]) -> Difference:
    """Return how a metric of a group differs from that of another."""
    from comparison.significance import (
        FEWEST_PHOTOS,
        FEWEST_RUNS,
        over_photos,
        over_seeds,
    )  # here, as they import numpy

    first, second = _mean(group, metric), _mean(reference, metric)
    value = None if first is None or second is None else first - second
    values = _values(group, metric), _values(reference, metric)
    seeds = over_seeds(*values) if value is not None else None
    fewest = min(map(len, values))
    what = "seed" if list(group_by) == ["seed"] else "run"
    few = "" if fewest >= FEWEST_RUNS else f"{plural(fewest, what)}: too few to tell"
    if not metric.endswith(("mIoU", "/miou")):
        return Difference(value, seeds, few, None, "only of mIoU")
    counts = [_photos(each, metric, group_by) for each in (group, reference)]
    if not all(counts):
        stem = metric.rpartition("/")[0]
        return Difference(value, seeds, few, None, f"not measured{f' on {stem}' if stem else ''} by evaluate.py")
    photos = over_photos(counts[0], counts[1])
    sizes = {len(run.names) for run in (*counts[0], *counts[1])}
    note = "" if photos else "measured on different photos"
    if len(sizes) == 1 and (size := sizes.pop()) < FEWEST_PHOTOS:
        note = f"{plural(size, 'photo')}: too few to tell"
    return Difference(value, seeds, few, photos, note)


def _photos(group: Group, metric: str, group_by: Sequence[str]) -> list[Counts]:
    """Return the counts of each run; runs that differ only in their fold count as one, with the photos of all folds.

    [] if a run has none.
    """
    from comparison.significance import joined

    parts: dict[str, list[Counts]] = {}
    for run in group.runs:
        found = counts_of(run, metric.rpartition("/")[0] or validation_of(run))
        if found is None:
            return []
        held_out = FOLD in group_by and run.config.get("data.folds") and metric == "mIoU"
        key = [value_of(run, other) for other in group_by if other != FOLD] if held_out else run.path
        parts.setdefault(shown([key]), []).append(found)
    return [joined(each) for each in parts.values()]


def differences(
    groups: Sequence[Group], reference: int, metric: str, group_by: Sequence[str]
) -> list[Difference | None]:
    """Return the difference of each group to the reference, a place in `groups`; None for the reference itself."""
    return [
        None if place == reference else difference(group, groups[reference], metric, group_by)
        for place, group in enumerate(groups)
    ]


def difference_rows(groups: Sequence[Group], found: Sequence[Difference | None], metric: str) -> list[Row]:
    """Return one row per group with its difference to the reference as texts."""
    rows: list[Row] = []
    for group, each in zip(groups, found, strict=True):
        mean = _mean(group, metric)
        row: Row = {"group": group.label, metric: mean}
        if each is None:
            row |= {"difference": "reference", "95 % over seeds": "", "95 % over photos": ""}
        else:
            row["difference"] = "-" if each.value is None else f"{each.value:+.4f}"
            row["95 % over seeds"] = _interval(each.seeds, each.seeds_note, "*")
            row["95 % over photos"] = _interval(each.photos, each.photos_note, "+")
        rows.append(row)
    return rows


def _interval(interval: Interval | None, note: str, mark: str) -> str:
    if interval is None:
        return note
    return f"{interval.low:+.4f} to {interval.high:+.4f}{f' {mark}' if interval.is_clear else ''}"
