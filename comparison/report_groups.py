"""Collect the groups of runs for the HTML report, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comparison.columns import data_sets_of
from comparison.differences import differences, reference_of
from comparison.groups import Group, groups_of
from comparison.labels import LONGEST_NAME, shortened
from comparison.runs import Run
from comparison.tables import metric_of, unfinished_note

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
    by_data: dict[str, list[Run]] = {}
    for run, data_set in zip(runs, data_sets_of(runs), strict=True):
        by_data.setdefault(shortened(data_set, LONGEST_NAME), []).append(run)
    groups: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    unfinished: list[str] = []
    for name, members in by_data.items():
        single = [Group(labels[places[id(run)]], [run]) for run in members]
        found = groups_of(members, keys, group_by) if group_by else single
        first = len(groups)
        if group_by:
            groups += [{"label": group.label, "runs": [places[id(run)] for run in group.runs]} for group in found]
            unfinished += [note] if (note := unfinished_note(found)) else []
        metric = metric_of(sort, columns)
        wanted = group_by or any(run is baseline for run in members)
        reference = reference_of(found, metric, baseline) if wanted else None
        if reference is None or len(found) < 2:
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
            for place, (group, each) in enumerate(
                zip(found, differences(found, reference, metric, group_by), strict=True)
            )
            if each is not None
        ]
        compared.append({"data_set": name, "metric": metric, "reference": found[reference].label, "rows": rows})
    return {"groups": groups, "differences": compared, "unfinished": unfinished}


def _ends(interval: Interval | None) -> list[float] | None:
    """Return the ends of an interval, and its own difference."""
    return None if interval is None else [interval.low, interval.high, interval.difference]
