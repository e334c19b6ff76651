"""The tables of compare.py: one per data set, with differences between groups and to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from comparison.columns import METRICS, is_score, title_of
from comparison.differences import (
    Difference,
    difference_rows,
    differences,
    measurable,
    not_measured,
    reference_of,
    unmeasured,
)
from comparison.evaluations import command_to_measure
from comparison.groups import FOLD, Group, check_group_by, counted_runs, fold_rows, grouped, groups_of, missing_folds
from comparison.labels import short_names
from comparison.rendering import is_part_of_cell, rendered
from comparison.rows import Row, against, differing_keys, rows_of, sorted_by
from comparison.runs import Run
from utils.errors import UserError, did_you_mean
from utils.tables import WITHOUT_TERMINAL, terminal_width
from utils.text import plural
from utils.value_types import TableFormat

NAMED = 3
"""Unmeasured runs that a note names; of more, it gives the number."""
MARKS = "95 % intervals without 0 are marked: * over seeds (Welch), + over photos (paired bootstrap)"


class Section(NamedTuple):
    """The part of a comparison for one data set: one unsorted row per group, or per run without `group_by`.

    Attributes:
        metric: score by which the groups are compared.
        reference: index of the group that the others are compared with; None if they are not compared.
        differences: the difference of each group; None for the reference itself. Empty if the groups are not compared.
    """

    rows: list[Row]
    groups: Sequence[Group]
    metric: str
    reference: int | None
    differences: Sequence[Difference | None]

    @property
    def title(self) -> str:
        """The title of the metric's column."""
        return title_of(self.metric, {name for row in self.rows for name in row})


def tables_of(
    by_data: Mapping[str, Sequence[Run]],
    form: TableFormat,
    *,
    baseline: Run | None = None,
    group_by: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    sort: str | None = None,
) -> str:
    """Return the tables as text.

    Args:
        by_data: the runs of each data set.
        baseline: a run; its data set gets a table of differences to it.
        group_by: keys; runs that differ only in them become one row.
        columns: as for `comparison.rows.rows_of`.
        sort: a column of the tables.

    Raises:
        UserError: there is no such column or key.
    """
    every = [run for runs in by_data.values() for run in runs]
    check_group_by(every, group_by)
    in_one_table = form in ("csv", "json")
    keys = [differing_keys(every if in_one_table else runs) for runs in by_data.values()]
    sections = [
        _section(runs, own, metric_of(sort, columns), baseline, group_by, columns)
        for runs, own in zip(by_data.values(), keys, strict=True)
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
    for (title, runs), own, section in zip(by_data.items(), keys, sections, strict=True):
        count = plural(len(runs), "run")
        heading = f"{title}: {count}" if len(by_data) > 1 else count
        rows = _sorted(_with_marks(section) if form == "latex" else section.rows, sort)
        text = rendered(rows, form, heading, width=width_of_runs, short=columns is None)
        notes = [note] if group_by and (note := unfinished_note(section.groups)) else []
        if form == "latex":
            comments = [f"% {' '.join(note.split())}" for note in (*_difference_notes(section), *notes)]
            texts.append("\n".join([*comments, text]))
        else:
            texts += [text, *notes, *([_difference_table(section, form, width)] if section.differences else [])]
        if FOLD in group_by:
            folds = fold_rows(section.groups)
            texts.append(rendered(folds, form, "IoU: mean over folds, and pooled", width=width))
            texts += missing_folds(section.groups)
        if baseline is not None and baseline in runs:
            by_class = against(baseline, runs, short_names(runs, own))
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
    """Return the rows of a data set, and the differences between them with `group_by` or a baseline in it."""
    if group_by:
        rows, groups = grouped(runs, keys, group_by, columns), groups_of(runs, keys, group_by)
    else:
        rows = rows_of(runs, keys, columns)
        groups = [Group(name, [run]) for name, run in zip(short_names(runs, keys), runs, strict=True)]
    compared = len(groups) > 1 and (group_by or baseline in runs)
    reference = reference_of(groups, metric, baseline) if compared else None
    found = [] if reference is None else differences(groups, reference, metric, group_by)
    return Section(rows, groups, metric, reference, found)


def _sorted(rows: list[Row], sort: str | None) -> list[Row]:
    return rows if sort is None else sorted_by(rows, sort)


def _difference_table(section: Section, form: TableFormat, width: int | None) -> str:
    """Return a table of the differences, and what is missing to compute them."""
    called = section.title
    rows = difference_rows(section.groups, section.differences, section.metric, called)
    heading = f"{called}: differences to {section.groups[section.reference or 0].label}"
    blank = "\n" if form == "markdown" else ""  # without it, the line would be a row of the table
    lines = [MARKS, *unmeasured_notes(section.groups, section.metric)]
    return "\n".join([rendered(rows, form, heading, width=width), *(f"{blank}{line}" for line in lines)])


def _difference_notes(section: Section) -> list[str]:
    """Return the comments of a LaTeX table: what the marks mean, and what is missing to compute the differences."""
    if not section.differences:
        return []
    label = section.groups[section.reference or 0].label
    notes = [f"{section.title}: compared with {label}; {MARKS.replace('+', 'dagger')}"]
    for group, each in zip(section.groups, section.differences, strict=True):
        why = [note for note in (each.seeds_note, each.photos_note) if note] if each is not None else []
        notes += [f"{group.label}: {'; '.join(why)}"] if why else []
    return [*notes, *unmeasured_notes(section.groups, section.metric)]


def _with_marks(section: Section) -> list[Row]:
    """Return the rows with the marks of significant differences."""
    found = section.differences or [None] * len(section.rows)
    mark = f"{section.metric} marks"
    return [
        row | {mark: each.marks} if each is not None and section.metric in row else row
        for row, each in zip(section.rows, found, strict=True)
    ]


def _with_facts(section: Section, unfinished: bool) -> list[Row]:
    """Return the rows with columns for a file: the differences, and with `unfinished` the unfinished runs of groups."""
    rows = section.rows
    if unfinished:
        names = [", ".join(unfinished_in(group)) for group in section.groups]
        rows = [row | {"unfinished": each} for row, each in zip(rows, names, strict=True)]
    if not section.differences:
        return rows
    return [row | _facts(each, section.metric) for row, each in zip(rows, section.differences, strict=True)]


def unmeasured_notes(groups: Sequence[Group], metric: str) -> list[str]:
    """Return lines with the runs that lack counts of pixels per photo for an mIoU, and the command to measure them."""
    lacking = [run for group in groups for run in unmeasured(group, metric)]
    if not metric.endswith(("mIoU", "/miou")) or not lacking:
        return []
    stem, every = metric.rpartition("/")[0], sum(len(measurable(group)) for group in groups)
    names = ", ".join(run.name for run in lacking) if len(lacking) <= NAMED else f"{len(lacking)} of {every} runs"
    notes = [f"{not_measured(metric)}: {names}"]
    if stem == "" or stem.isalpha():  # not an evaluation with options, such as val_flip
        notes.append(f"to measure what is missing: {command_to_measure(lacking, stem)}")
    return notes


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


def metric_of(sort: str | None, columns: Sequence[str] | None) -> str:
    """Return the score that groups are compared by: `sort` if it is one, or the first score in `columns`, or mIoU."""
    scores = [METRICS.get(name, name) for name in (sort, *(columns or ())) if name is not None]
    return next((name for name in scores if is_score(name)), "mIoU")


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
