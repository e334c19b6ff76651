"""The tables of compare.py: one per data set, with differences between groups and to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from comparison.evaluations import command_to_measure, counts_of, evaluations, validation_of
from comparison.groups import FOLD, Group, check_group_by, fold_rows, grouped, groups_of, missing_folds
from comparison.labels import short_names
from comparison.rendering import is_part_of_cell, rendered
from comparison.runs import Run, number_or_none
from comparison.table import Row, against, differing_keys, rows_of, sorted_by
from utils.errors import UserError, did_you_mean
from utils.tables import WITHOUT_TERMINAL, terminal_width
from utils.text import plural
from utils.value_types import TableFormat

MARKS = "95 % intervals without 0 are marked: * over seeds (Welch), + over photos (paired bootstrap)"


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
        columns: as for `comparison.table.rows_of`.
        sort: a column of the tables.

    Raises:
        UserError: there is no such column or key.
    """
    together: list[Row] = []
    texts: list[str] = []
    last: list[str] = []
    width, known = terminal_width(), list[str]()
    width_of_runs = WITHOUT_TERMINAL if width is None and columns is None else width
    every = [run for runs in by_data.values() for run in runs]
    check_group_by(every, group_by)
    for title, runs in by_data.items():
        keys = differing_keys(runs if form in ("table", "markdown", "latex") else every)
        rows = grouped(runs, keys, group_by, columns) if group_by else rows_of(runs, keys, columns)
        groups = groups_of(runs, keys, group_by) if group_by else _single(runs, keys)
        known += [name for row in rows for name in row]
        metric = metric_of(sort, columns)
        if group_by and form in ("csv", "json"):
            for row, group in zip(rows, groups, strict=True):
                row["unfinished"] = ", ".join(unfinished_in(group))
        reference = reference_of(groups, metric, baseline) if group_by or baseline in runs else None
        found: list[Difference | None] = []
        if reference is not None and len(groups) > 1:
            found = differences(groups, reference, metric, group_by)
            for row, each in zip(rows, found, strict=True):
                row |= _facts(each, metric) if form in ("csv", "json") else {}
                if form == "latex" and each is not None and metric in row:
                    row[f"{metric} marks"] = each.marks
        rows = sorted_by(rows, sort) if sort is not None and _has(rows, sort) else rows
        together += rows
        count = plural(len(runs), "run")
        heading = f"{title}: {count}" if len(by_data) > 1 else count
        texts.append(rendered(rows, form, heading, width=width_of_runs, short=columns is None))
        unfinished = unfinished_note(groups) if group_by else ""
        if unfinished and form in ("table", "markdown"):
            texts.append(unfinished)
        elif unfinished and form == "latex":
            texts[-1] = f"% {' '.join(unfinished.split())}\n{texts[-1]}"
        lacking = unmeasured_notes(groups, metric) if found and metric.endswith(("mIoU", "/miou")) else []
        called = title_of(metric, rows[0])
        if found and form in ("table", "markdown"):
            name = groups[reference or 0].label
            compared = difference_rows(groups, found, metric, called)
            blank = "\n" if form == "markdown" else ""  # without it, the line would be a row of the table
            heading = f"{called}: differences to {name}"
            missing = "".join(f"\n{blank}{line}" for line in lacking)
            texts.append(f"{rendered(compared, form, heading, width=width)}\n{blank}{MARKS}{missing}")
        elif found and form == "latex":
            notes = [f"{called}: compared with {groups[reference or 0].label}; {MARKS.replace('+', 'dagger')}"]
            for group, each in zip(groups, found, strict=True):
                why = [note for note in (each.seeds_note, each.photos_note) if note] if each is not None else []
                notes += [f"{group.label}: {'; '.join(why)}"] if why else []
            notes += lacking
            texts[-1] = "\n".join([*(f"% {' '.join(note.split())}" for note in notes), texts[-1]])
        if FOLD in group_by:
            texts += [
                rendered(fold_rows(groups), form, "IoU: mean over folds, and pooled", width=width),
                *missing_folds(groups),
            ]
        if (
            baseline is not None and baseline in runs and form not in ("csv", "json")
        ):  # which readers take for one table
            by_class = against(baseline, runs, short_names(runs, keys))
            title = "IoU of the baseline, and differences to it"
            last = [rendered(by_class, form, title, signed=True, width=width)]
    if sort is not None and METRICS.get(sort, sort) not in known:
        shown = [name for name in dict.fromkeys(known) if not is_part_of_cell(name)]
        hint = did_you_mean(sort, [*METRICS, *shown])
        raise UserError(f"sort={sort}: no such column; available: {', '.join([*METRICS, *shown])}{hint}")
    return "\n\n".join([*([rendered(together, form)] if form in ("csv", "json") else texts), *last])


def unmeasured_notes(groups: Sequence[Group], metric: str) -> list[str]:
    """Return lines with the runs that lack the photos' pixels for a mIoU, by group, and the command to measure them.

    [] if none lacks them.
    """
    named, lacking = [], list[Run]()
    for group in groups:
        runs = unmeasured(group, metric)
        lacking += runs
        names = [run.name for run in runs if run.name != group.label]
        named += [f"{group.label} ({', '.join(names)})" if names else group.label] if runs else []
    if not lacking:
        return []
    note = f"{not_measured(metric)}: {'; '.join(named)}"
    runs = [run for group in groups for run in measurable(group)]
    other = next((stem for run in runs for stem in evaluations(run) if counts_of(run, stem) is not None), None)
    if metric == "mIoU" and other not in (None, *map(validation_of, runs)):
        note += f"; columns=[{other}/miou] compares {other}/miou"
    command = command_to_measure(lacking, metric)
    return [note, *([f"to measure what is missing: {command}"] if command else [])]


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
    for run in group.runs:
        if run.status != "finished" and number_or_none(run.best("val/miou")) is not None:
            epoch, epochs = number_or_none(run.row("last").get("epoch")), run.config.get("trainer.epochs")
            described.append(f"{run.name} ({run.status}{f' after epoch {epoch:g} of {epochs}' if epoch else ''})")
    return described


def metric_of(sort: str | None, columns: Sequence[str] | None) -> str:
    """Return the score by which groups are compared: the one sorted by, or the first column that is one, or mIoU."""
    scores = [METRICS.get(name, name) for name in (sort, *(columns or ())) if name is not None]
    return next((name for name in scores if is_score(name)), "mIoU")


def _single(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    return [Group(name, [run]) for name, run in zip(short_names(runs, keys), runs, strict=True)]


def _has(rows: Sequence[Row], column: str) -> bool:
    return any(METRICS.get(column, column) in row for row in rows)


def _facts(difference: Difference | None, metric: str) -> Row:
    """Return the difference of a group as columns of a file."""
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
