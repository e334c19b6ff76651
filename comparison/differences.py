"""Differences between groups of runs, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from comparison.columns import higher_is_better, is_of_training, shown, value_of
from comparison.data_sets import samples_of
from comparison.evaluations import command_to_measure, counts_of, photos_of, validation_of
from comparison.groups import FOLD, Group, counted_runs, mean_and_deviation
from comparison.rows import Row
from comparison.runs import Run
from utils.text import plural

if TYPE_CHECKING:
    from comparison.significance import Counts, Interval

OTHER_PHOTOS = "measured on different photos"
NAMED = 3
"""Unmeasured runs that a note names; of more, it gives the number."""


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


class Comparison(NamedTuple):
    """Groups of runs compared with one of them.

    Attributes:
        metric: the score that they are compared by.
        reference: the group that the others are compared with.
        differences: the difference of each group; None for the reference itself.
    """

    groups: Sequence[Group]
    metric: str
    reference: Group
    differences: Sequence[Difference | None]


def compared(groups: Sequence[Group], metric: str, group_by: Sequence[str], baseline: Run | None) -> Comparison | None:
    """Compare groups with that of the baseline, or else with the best one.

    Returns:
        None if there is only one group, if no group has the metric, or without `group_by` and a baseline in a group.
    """
    reference = next((group for group in groups if any(run is baseline for run in group.runs)), None)
    if len(groups) < 2 or (reference is None and not group_by):
        return None
    reference = reference or _best(groups, metric)
    if reference is None:
        return None
    found = [None if group is reference else difference(group, reference, metric, group_by) for group in groups]
    return Comparison(groups, metric, reference, found)


def _best(groups: Sequence[Group], metric: str) -> Group | None:
    """Return the group with the best mean. Groups whose runs all have the metric come first."""
    sign = 1 if higher_is_better(metric) else -1

    def rank(pair: tuple[Group, float]) -> tuple[bool, float]:
        group, mean = pair
        return len(_values(group, metric)) >= len(counted_runs(group)), sign * mean

    means = [(group, mean) for group in groups if (mean := _mean(group, metric)) is not None]
    return max(means, key=rank)[0] if means else None


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
    own, other = _measured_on(group, metric, group_by), _measured_on(reference, metric, group_by)
    if own and other and own != other:
        return Difference(value, None, OTHER_PHOTOS, None, OTHER_PHOTOS)
    values = _independent(group, metric, group_by), _independent(reference, metric, group_by)
    seeds = over_seeds(*values) if value is not None else None
    fewest = min(map(len, values))
    what = "seed" if list(group_by) == ["seed"] else "run"
    few = "" if fewest >= FEWEST_RUNS else f"{plural(fewest, what)}: too few to tell"
    if not metric.endswith(("mIoU", "/miou")):
        return Difference(value, seeds, few, None, "only of mIoU")
    if not counted_runs(group):
        return Difference(value, seeds, few, None, "no run has a metric")
    for lacking, who in ((group, ""), (reference, "reference ")):
        if _unmeasured(lacking, metric):
            return Difference(value, seeds, few, None, f"{who}{_not_measured(metric)}")
    counts = [_photos(each, metric, group_by) for each in (group, reference)]
    photos = over_photos(counts[0], counts[1])
    sizes = {len(run.names) for run in (*counts[0], *counts[1])}
    note = "" if photos else OTHER_PHOTOS
    if len(sizes) == 1 and (size := sizes.pop()) < FEWEST_PHOTOS:
        note = f"{plural(size, 'photo')}: too few to tell"
    return Difference(value, seeds, few, photos, note)


def _measured_on(group: Group, metric: str, group_by: Sequence[str]) -> set[str]:
    """Return the fingerprints of the samples on which the runs measured a metric, while training or by evaluate.py.

    Empty if unknown, and for folds, which differ on purpose.
    """
    if FOLD in group_by or metric.startswith("train/"):
        return set()
    split = metric.partition("/")[0]
    return {
        samples_of(run, "validation") if is_of_training(run, metric) else photos_of(run, split)
        for run in counted_runs(group)
    } - {""}


def _independent(group: Group, metric: str, group_by: Sequence[str]) -> list[float]:
    """Return one value for each setting of the keys that differ: the mean of runs that repeat one, of the same seed."""
    found: dict[str, list[float]] = {}
    for run in group.runs:
        value = value_of(run, metric)
        if value is not None:
            found.setdefault(shown([value_of(run, key) for key in group_by]), []).append(value)
    return [fmean(values) for values in found.values()]


def _not_measured(metric: str) -> str:
    """Return the note for an mIoU without counts of pixels per photo."""
    stem = metric.rpartition("/")[0]
    return f"not measured{f' on {stem}' if stem else ''} by evaluate.py"


def _unmeasured(group: Group, metric: str) -> list[Run]:
    """Return the runs of a group that have an mIoU, but no counts of pixels per photo for this metric."""
    return [run for run in counted_runs(group) if _counts(run, metric) is None]


def _counts(run: Run, metric: str) -> Counts | None:
    return counts_of(run, metric.rpartition("/")[0] or validation_of(run))


def _photos(group: Group, metric: str, group_by: Sequence[str]) -> list[Counts]:
    """Return the counts of each run; runs that differ only in their fold count as one, with the photos of all folds."""
    from comparison.significance import joined

    parts: dict[str, list[Counts]] = {}
    for run in counted_runs(group):
        found = _counts(run, metric)
        if found is None:
            continue
        held_out = FOLD in group_by and run.config.get("data.folds") and metric == "mIoU"
        key = [value_of(run, other) for other in group_by if other != FOLD] if held_out else run.path
        parts.setdefault(shown([key]), []).append(found)
    return [joined(each) for each in parts.values()]


def difference_rows(comparison: Comparison, title: str) -> list[Row]:
    """Return one row per group with its difference to the reference as texts; `title` is the title of the metric."""
    metric = comparison.metric
    rows: list[Row] = []
    for group, each in zip(comparison.groups, comparison.differences, strict=True):
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


def unmeasured_notes(groups: Sequence[Group], metric: str) -> list[str]:
    """Return lines with the runs that lack counts of pixels per photo for an mIoU, and the command to measure them."""
    lacking = [run for group in groups for run in _unmeasured(group, metric)]
    if not metric.endswith(("mIoU", "/miou")) or not lacking:
        return []
    stem, every = metric.rpartition("/")[0], sum(len(counted_runs(group)) for group in groups)
    names = ", ".join(run.name for run in lacking) if len(lacking) <= NAMED else f"{len(lacking)} of {every} runs"
    notes = [f"{_not_measured(metric)}: {names}"]
    if stem == "" or stem.isalpha():  # not an evaluation with options, such as val_flip
        notes.append(f"to measure what is missing: {command_to_measure(lacking, stem)}")
    return notes
