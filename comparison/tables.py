"""The tables of compare.py: one per data set, with differences between groups and to a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from comparison.columns import METRICS, metric_of, title_of
from comparison.data_sets import by_data_set
from comparison.differences import Comparison, Difference, compared, difference_rows, unmeasured_notes
from comparison.groups import (
    FOLD,
    Group,
    check_group_by,
    fold_rows,
    grouped,
    groups_of,
    missing_folds,
    unfinished_in,
    unfinished_note,
)
from comparison.rendering import is_part_of_cell, rendered
from comparison.rows import Row, against, differing_keys, rows_of, sorted_by
from comparison.run_names import short_names
from comparison.runs import Run
from utils.errors import UserError, did_you_mean
from utils.tables import WITHOUT_TERMINAL, terminal_width
from utils.text import plural
from utils.value_types import TableFormat

MARKS = "95 % intervals without 0 are marked: * over seeds (Welch), + over photos (paired bootstrap)"


class Section(NamedTuple):
    """The part of a comparison for one data set: one unsorted row per group, or per run without `group_by`.

    Attributes:
        title: title of the column of the metric that the groups are compared by.
        comparison: None if they are not compared.
    """

    rows: list[Row]
    groups: Sequence[Group]
    title: str
    comparison: Comparison | None


def tables_of(
    runs: Sequence[Run],
    form: TableFormat,
    *,
    baseline: Run | None = None,
    group_by: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    sort: str | None = None,
) -> str:
    """Return the tables as text.

    Args:
        baseline: a run; its data set gets a table of differences to it.
        group_by: keys; runs that differ only in them become one row.
        columns: as for `comparison.rows.rows_of`.
        sort: a column of the tables.

    Raises:
        UserError: there is no such column or key.
    """
    check_group_by(runs, group_by)
    by_data = by_data_set(runs)
    in_one_table = form in ("csv", "json")
    keys = [differing_keys(runs if in_one_table else some) for some in by_data.values()]
    sections = [
        _section(some, own, metric_of(sort, columns), baseline, group_by, columns)
        for some, own in zip(by_data.values(), keys, strict=True)
    ]
    known = dict.fromkeys(name for section in sections for row in section.rows for name in row)
    if sort is not None and METRICS.get(sort, sort) not in known:
        shown = [name for name in known if not is_part_of_cell(name)]
        hint = did_you_mean(sort, [*METRICS, *shown])
        raise UserError(f"sort={sort}: no such column; available: {', '.join([*METRICS, *shown])}{hint}")
    if in_one_table:
        rows = [row for section in sections for row in _sorted(_with_facts(section, bool(group_by)), sort)]
        return rendered(rows, form)

    width = terminal_width()
    width_of_runs = WITHOUT_TERMINAL if width is None and columns is None else width
    texts: list[str] = []
    last: list[str] = []
    for (name, some), own, section in zip(by_data.items(), keys, sections, strict=True):
        count = plural(len(some), "run")
        heading = f"{name}: {count}" if len(by_data) > 1 else count
        rows = _sorted(_with_marks(section) if form == "latex" else section.rows, sort)
        text = rendered(rows, form, heading, width=width_of_runs, short=columns is None)
        notes = [note] if group_by and (note := unfinished_note(section.groups)) else []
        if form == "latex":
            comments = [f"% {' '.join(note.split())}" for note in (*_difference_notes(section), *notes)]
            texts.append("\n".join([*comments, text]))
        else:
            texts += [text, *notes]
            if section.comparison is not None:
                texts.append(_difference_table(section.comparison, section.title, form, width))
        if FOLD in group_by:
            folds = fold_rows(section.groups)
            texts.append(rendered(folds, form, "IoU: mean over folds, and pooled", width=width))
            texts += missing_folds(section.groups)
        if baseline is not None and baseline in some:
            by_class = against(baseline, some, short_names(some, own))
            heading = "IoU of the baseline, and differences to it"
            last.append(rendered(by_class, form, heading, signed=True, width=width or WITHOUT_TERMINAL))
    return "\n\n".join([*texts, *last])


def _section(
    runs: Sequence[Run],
    keys: Sequence[str],
    metric: str,
    baseline: Run | None,
    group_by: Sequence[str],
    columns: Sequence[str] | None,
) -> Section:
    if group_by:
        rows, groups = grouped(runs, keys, group_by, columns), groups_of(runs, keys, group_by)
    else:
        rows = rows_of(runs, keys, columns)
        groups = [Group(name, [run]) for name, run in zip(short_names(runs, keys), runs, strict=True)]
    title = title_of(metric, {name for row in rows for name in row})
    return Section(rows, groups, title, compared(groups, metric, group_by, baseline))


def _sorted(rows: list[Row], sort: str | None) -> list[Row]:
    return rows if sort is None else sorted_by(rows, sort)


def _difference_table(comparison: Comparison, title: str, form: TableFormat, width: int | None) -> str:
    """Return a table of the differences, and what is missing to compute them."""
    heading = f"{title}: differences to {comparison.reference.label}"
    blank = "\n" if form == "markdown" else ""  # without it, the line would be a row of the table
    lines = [MARKS, *unmeasured_notes(comparison.groups, comparison.metric)]
    text = rendered(difference_rows(comparison, title), form, heading, width=width)
    return "\n".join([text, *(f"{blank}{line}" for line in lines)])


def _difference_notes(section: Section) -> list[str]:
    """Return the comments of a LaTeX table: what the marks mean, and what is missing to compute the differences."""
    if section.comparison is None:
        return []
    groups, metric, reference, differences = section.comparison
    notes = [f"{section.title}: compared with {reference.label}; {MARKS.replace('+', 'dagger')}"]
    for group, each in zip(groups, differences, strict=True):
        why = [note for note in (each.seeds_note, each.photos_note) if note] if each is not None else []
        notes += [f"{group.label}: {'; '.join(why)}"] if why else []
    return [*notes, *unmeasured_notes(groups, metric)]


def _with_marks(section: Section) -> list[Row]:
    """Return the rows with the marks of significant differences."""
    if section.comparison is None:
        return section.rows
    _, metric, _, differences = section.comparison
    return [
        row | {f"{metric} marks": each.marks} if each is not None and metric in row else row
        for row, each in zip(section.rows, differences, strict=True)
    ]


def _with_facts(section: Section, unfinished: bool) -> list[Row]:
    """Return the rows with columns for a file: the differences, and with `unfinished` the unfinished runs of groups."""
    rows = section.rows
    if unfinished:
        names = [", ".join(unfinished_in(group)) for group in section.groups]
        rows = [row | {"unfinished": each} for row, each in zip(rows, names, strict=True)]
    if section.comparison is None:
        return rows
    _, metric, _, differences = section.comparison
    return [row | _facts(each, metric) for row, each in zip(rows, differences, strict=True)]


def _facts(difference: Difference | None, metric: str) -> Row:
    """Return the difference of a group as columns for a file."""
    if difference is None:
        return {f"difference in {metric}": 0.0}
    row: Row = {f"difference in {metric}": difference.value}
    for name, interval, note in (
        ("seeds", difference.seeds, difference.seeds_note),
        ("photos", difference.photos, difference.photos_note),
    ):
        row |= {f"low over {name}": interval and interval.low, f"high over {name}": interval and interval.high}
        row[f"note over {name}"] = note
    return row
