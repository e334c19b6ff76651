"""Differences between groups of runs, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from comparison.columns import higher_is_better, shown, value_of
from comparison.evaluations import counts_of, validation_of
from comparison.groups import FOLD, Group, counted_runs, mean_and_deviation
from comparison.rows import Row
from comparison.runs import Run
from utils.text import plural

if TYPE_CHECKING:
    from comparison.significance import Counts, Interval


class Difference(NamedTuple):
    """How the metric of a group differs from that of the reference.

    Attributes:
        value: difference of the means; None if either has none.
        seeds, photos: the same difference with an interval; None if there is a note that says why.
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


def reference_of(groups: Sequence[Group], metric: str, baseline: Run | None) -> int | None:
    """Return the index of the group of the baseline, or else of the best group; None if no group has the metric.

    Groups whose runs all have the metric come first.
    """
    for index, group in enumerate(groups):
        if baseline is not None and any(run is baseline for run in group.runs):
            return index
    sign = 1 if higher_is_better(metric) else -1
    ranks = [
        (len(_values(group, metric)) >= len(counted_runs(group)), sign * mean, -index)
        for index, group in enumerate(groups)
        if (mean := _mean(group, metric)) is not None
    ]
    return -max(ranks)[2] if ranks else None


def _values(group: Group, metric: str) -> list[float]:
    return [value for run in group.runs if (value := value_of(run, metric)) is not None]


def _mean(group: Group, metric: str) -> float | None:
    values = _values(group, metric)
    return mean_and_deviation(values)[0] if values else None


def difference(group: Group, reference: Group, metric: str, group_by: Sequence[str]) -> Difference:
    """Return how a metric of a group differs from that of another."""
    # Imported here, as it imports NumPy.
    from comparison.significance import FEWEST_PHOTOS, FEWEST_RUNS, over_photos, over_seeds

    first, second = _mean(group, metric), _mean(reference, metric)
    value = None if first is None or second is None else first - second
    values = _values(group, metric), _values(reference, metric)
    seeds = over_seeds(*values) if value is not None else None
    fewest = min(map(len, values))
    what = "seed" if list(group_by) == ["seed"] else "run"
    few = "" if fewest >= FEWEST_RUNS else f"{plural(fewest, what)}: too few to tell"
    if not metric.endswith(("mIoU", "/miou")):
        return Difference(value, seeds, few, None, "only of mIoU")
    for lacking, who in ((group, ""), (reference, "reference ")):
        if unmeasured(lacking, metric):
            return Difference(value, seeds, few, None, f"{who}{not_measured(metric)}")
    counts = [_photos(each, metric, group_by) for each in (group, reference)]
    photos = over_photos(counts[0], counts[1])
    sizes = {len(run.names) for run in (*counts[0], *counts[1])}
    note = "" if photos else "measured on different photos"
    if len(sizes) == 1 and (size := sizes.pop()) < FEWEST_PHOTOS:
        note = f"{plural(size, 'photo')}: too few to tell"
    return Difference(value, seeds, few, photos, note)


def not_measured(metric: str) -> str:
    """Return the note for an mIoU without counts of pixels per photo."""
    stem = metric.rpartition("/")[0]
    return f"not measured{f' on {stem}' if stem else ''} by evaluate.py"


def unmeasured(group: Group, metric: str) -> list[Run]:
    """Return the runs of a group that have an mIoU, but no counts of pixels per photo for this metric."""
    return [run for run in measurable(group) if _counts(run, metric) is None]


def measurable(group: Group) -> list[Run]:
    """Return the runs of a group that are compared over photos."""
    return counted_runs(group) or group.runs


def _counts(run: Run, metric: str) -> Counts | None:
    return counts_of(run, metric.rpartition("/")[0] or validation_of(run))


def _photos(group: Group, metric: str, group_by: Sequence[str]) -> list[Counts]:
    """Return the counts of each run; runs that differ only in their fold count as one, with the photos of all folds."""
    from comparison.significance import joined

    parts: dict[str, list[Counts]] = {}
    for run in measurable(group):
        found = _counts(run, metric)
        if found is None:
            continue
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


def difference_rows(groups: Sequence[Group], found: Sequence[Difference | None], metric: str, title: str) -> list[Row]:
    """Return one row per group with its difference to the reference as texts; `title` is the title of the metric."""
    rows: list[Row] = []
    for group, each in zip(groups, found, strict=True):
        mean = _mean(group, metric)
        row: Row = {"group": group.label, title: mean}
        if mean is not None and (known := len(_values(group, metric))) < (runs := len(counted_runs(group))):
            row[f"{title} (runs)"] = f"{known} of {runs}"
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
