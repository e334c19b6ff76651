"""Collect the groups of runs for the HTML report, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comparison.columns import metric_of
from comparison.data_sets import by_data_set
from comparison.differences import compared
from comparison.groups import Group, groups_of, unfinished_note
from comparison.run_names import LONGEST_NAME, shortened
from comparison.runs import Run

if TYPE_CHECKING:
    from comparison.significance import Interval


def groups_data(
    runs: Sequence[Run],
    labels: Sequence[str],
    keys: Sequence[str],
    group_by: Sequence[str],
    columns: Sequence[str] | None,
    sort: str | None,
    baseline: Run | None,
) -> dict[str, Any]:
    """Return `groups`, each with its label and the places of its runs; `differences`, one entry per data set; and
    `unfinished`, notes on unfinished runs in groups."""
    places = {id(run): place for place, run in enumerate(runs)}
    groups: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    unfinished: list[str] = []
    for name, members in by_data_set(runs).items():
        single = [Group(labels[places[id(run)]], [run]) for run in members]
        found = groups_of(members, keys, group_by) if group_by else single
        first = len(groups)
        if group_by:
            groups += [{"label": group.label, "runs": [places[id(run)] for run in group.runs]} for group in found]
            unfinished += [note] if (note := unfinished_note(found)) else []
        comparison = compared(found, metric_of(sort, columns), group_by, baseline)
        if comparison is None:
            continue
        rows = [
            {
                "label": group.label,
                "place": first + place if group_by else places[id(group.runs[0])],
                "value": each.value,
                "seeds": _ends(each.seeds),
                "seeds_note": each.seeds_note,
                "photos": _ends(each.photos),
                "photos_note": each.photos_note,
            }
            for place, (group, each) in enumerate(zip(found, comparison.differences, strict=True))
            if each is not None
        ]
        title, reference = shortened(name, LONGEST_NAME), comparison.reference.label
        differences.append({"data_set": title, "metric": comparison.metric, "reference": reference, "rows": rows})
    return {"groups": groups, "differences": differences, "unfinished": unfinished}


def _ends(interval: Interval | None) -> list[float] | None:
    """Return the ends of an interval, and its own difference."""
    return None if interval is None else [interval.low, interval.high, interval.difference]
