"""Compare runs in a table, with a column for each config key in which they differ."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Sequence
from typing import Any

from comparison.runs import Run, number_or_none
from utils.errors import UserError, did_you_mean
from utils.tables import column_widths, duration, table
from utils.value_types import TableFormat

GROUPS = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "distill", "trainer")
NOT_COMPARED = {"name", "notes", "resume"}
METRICS = {"val/miou": "mIoU", "val/dice": "Dice"}
WEIGHTIEST = ("name", "job", "class", "n", "mIoU", "status", "model")
"""Columns that a narrow table keeps first, followed by the keys in which runs differ."""
LIGHTEST = ("data", "epoch", "Dice", "seconds", "parameters", "images/s", "MACs")
"""Columns that it keeps after those; columns with the same value in all rows come last."""
LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
)

Row = dict[str, Any]
"""Column -> text, number, or None if undefined. A mean is followed by its standard deviation under `<column> +-`;
`n`, the number of runs averaged, by the number of runs in the group under `n of`."""


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """Return the config keys in which runs differ; `loss` if they chose different losses, and so on for each group.

    Keys of a group (such as a model's) count only if runs with the same option differ in them; those of transforms,
    most of which follow the image size, only if runs of the same image size do.
    """
    groups = [g for g in GROUPS[2:] if len({run.option(g) for run in runs} - {""}) > 1]
    seen: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        chosen = {group: run.option(group) for group in GROUPS}
        chosen["augmentation"] += str(run.config.get("data.image_size"))
        for key, value in run.config.items():
            group, _, rest = key.partition(".")
            if key not in NOT_COMPARED and rest != "_target_":
                seen.setdefault(key, {}).setdefault(chosen.get(group, ""), set()).add(_as_json(value))
    keys = [key for key, by_option in seen.items() if any(len(values) > 1 for values in by_option.values())]
    order = {group: place for place, group in enumerate(GROUPS)}
    return groups + sorted(keys, key=lambda key: order.get(key.partition(".")[0], -1))


def rows_of(runs: Sequence[Run], keys: Sequence[str]) -> list[Row]:
    """Return one row per run."""
    return [_row(run, keys) for run in runs]


def grouped(runs: Sequence[Run], keys: Sequence[str], group_by: str) -> list[Row]:
    """Return one row per group of runs that differ only in a key: means and sample standard deviations.

    Means are over the `n` runs with an mIoU, or over all runs of the group (`n of`) if none has one.

    Raises:
        UserError: no run has the key.
    """
    keys = [key for key in keys if key != group_by]
    rows = []
    for members in groups_of(runs, keys, group_by):
        each = rows_of(members, keys)
        counted = [member for member in each if member["mIoU"] is not None]
        row: Row = {"n": len(counted), "n of": len(each)}
        for column in each[0]:
            numbers = [member[column] for member in counted or each if isinstance(member[column], float)]
            if column in ("model", "data", *keys):
                row[column] = each[0][column]
            elif column == "status":
                row[column] = ", ".join(dict.fromkeys(member[column] for member in each))
            elif numbers and column != "epoch":
                row[column], row[f"{column} +-"] = _mean_and_deviation(numbers)
        rows.append(row)
    return rows


def _mean_and_deviation(numbers: Sequence[float]) -> tuple[float | None, float | None]:
    try:
        return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None
    except OverflowError:
        return None, None


def groups_of(runs: Sequence[Run], keys: Sequence[str], group_by: str) -> list[list[Run]]:
    """Group the runs that differ only in a key.

    Args:
        keys: the keys in which any of the runs differ.

    Raises:
        UserError: no run has the key.
    """
    if not any(group_by in run.config for run in runs):
        known = {key for run in runs for key in run.config}
        raise UserError(f"group_by={group_by}: no run has this key{did_you_mean(group_by, known)}")
    alike: dict[str, list[Run]] = {}
    for run in runs:
        others = {key: _value(run, key) for key in keys if key != group_by}
        same = {"model": run.option("model"), "data": run.option("data"), **others}
        alike.setdefault(_as_json(same), []).append(run)
    return list(alike.values())


def against(baseline: Run, runs: Sequence[Run]) -> list[Row]:
    """Return one row per class: the baseline's IoU at its best epoch, and the difference of each other run to it.

    Raises:
        UserError: the baseline has no validated epoch.
    """
    found = [key for key in baseline.row("best") if key.startswith("val/iou/")]
    if not found:
        raise UserError(f"baseline={baseline.path}: it has no validated epoch")
    rows = []
    for key, title in [*((key, key.removeprefix("val/iou/")) for key in found), ("val/miou", "mIoU")]:
        base = baseline.best(key)
        others = {run.name: number_or_none(run.best(key) - base) for run in runs if run is not baseline}
        rows.append({"class": title, baseline.name: number_or_none(base), **others})
    return rows


def sorted_by(rows: list[Row], column: str) -> list[Row]:
    """Return the rows sorted by a column: metrics and images/s descending, others ascending; missing values last.

    Raises:
        UserError: there is no such column.
    """
    column = METRICS.get(column, column)
    known = {name for row in rows for name in row}
    if rows and column not in known:
        choices = ", ".join([*METRICS, *(name for name in rows[0] if name not in METRICS.values())])
        raise UserError(
            f"sort={column}: no such column; available: {choices}{did_you_mean(column, [*known, *METRICS])}"
        )
    sign = -1 if column in (*METRICS.values(), "images/s") else 1

    def place(row: Row) -> tuple[bool, float, str]:
        value = row.get(column)
        return value is None, sign * value if isinstance(value, int | float) else 0.0, str(value)

    return sorted(rows, key=place)


def rendered(
    rows: Sequence[Row], form: TableFormat, title: str = "", signed: bool = False, width: int | None = None
) -> str:
    """Return the rows as text.

    Args:
        signed: show numbers after the second column with a sign.
        width: most characters per line of a `table`; columns that do not fit are listed below it.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row if not name.endswith(" +-") and name != "n of"))
    if form == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False)
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: value if value is None else shown(value) for key, value in row.items()} for row in rows)
        return text.getvalue().rstrip("\n")
    cells = [[_cell(row, c, signed and i > 1, form) for i, c in enumerate(columns)] for row in rows]
    if form == "table":
        return _fitted([columns, *cells], title, width)
    if form == "markdown":
        lines = [columns, ["---"] + ["--:"] * (len(columns) - 1), *cells]
        return "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    body = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in [columns, *cells]]
    head = [rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\hline", body[0], r"\hline"]
    return "\n".join([*head, *body[1:], r"\hline", r"\end{tabular}"])


def _fitted(rows: Sequence[Sequence[str]], title: str, width: int | None) -> str:
    """Return a table of at most this width, without the least important columns."""
    columns = rows[0]
    needed = dict(zip(columns, column_widths(rows), strict=True))
    if width is None or sum(needed.values()) < width:
        return table(rows, title)
    places = {column: place for place, column in enumerate([*WEIGHTIEST, "a key", *LIGHTEST])}
    same = {column for column, cells in zip(columns, zip(*rows[1:], strict=True), strict=True) if len(set(cells)) == 1}

    def lightness(column: str) -> tuple[bool, int]:
        return column in same - set(WEIGHTIEST[:4]) and len(rows) > 2, places.get(column, places["a key"])

    kept, used = set[str](), 1  # one border
    for column in sorted(columns, key=lightness):
        if used + needed[column] <= width or not kept:
            kept.add(column)
            used += needed[column]
    lines = [[cell for column, cell in zip(columns, row, strict=True) if column in kept] for row in rows]
    missing = ", ".join(column for column in columns if column not in kept)
    note = f"columns that do not fit: {missing}; see them in a wider terminal, or with format=csv or report=report.html"
    return f"{table(lines, title)}\n{note}" if missing else table(lines, title)


def _row(run: Run, keys: Sequence[str]) -> Row:
    return {
        "name": run.name,
        "model": run.option("model"),
        "data": run.option("data"),
        **{key: _value(run, key) for key in keys},
        "parameters": number_or_none(run.number("parameters")),
        "MACs": number_or_none(run.number("macs")),
        "mIoU": number_or_none(run.best("val/miou")),
        "epoch": run.best_epoch,
        "Dice": number_or_none(run.best("val/dice")),
        "images/s": number_or_none(run.row("last").get("images_per_second")),
        "seconds": number_or_none(run.number("seconds")),
        "status": run.status,
    }


def _value(run: Run, key: str) -> Any:
    return run.option(key) if key in GROUPS else run.config.get(key)


def shown(value: Any) -> str:
    """Return a config value as it is typed on the command line."""
    return value if isinstance(value, str) else _as_json(value)


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)


def _cell(row: Row, column: str, signed: bool, form: TableFormat) -> str:
    """Return the text of a cell."""
    value = row.get(column)
    if column == "n" and value != row.get("n of", value):
        return f"{value} of {row['n of']}"
    if value is None:
        return "" if column not in row or form != "table" else "-"
    if column == "seconds":
        return duration(value)
    if column == "parameters":
        return f"{value / 1e6:.2f} M"
    if column == "MACs":
        return f"{value / 1e9:.2f} G"
    if column == "images/s":
        return f"{value:.1f}"
    if not isinstance(value, float) or (column not in (*METRICS.values(),) and "class" not in row):
        return f"{value:.4g}" if isinstance(value, float) else shown(value)
    deviation = row.get(f"{column} +-")
    text = f"{value:+.4f}" if signed else f"{value:.4f}"
    return text if deviation is None else f"{text} +- {deviation:.4f}"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    start = "{}" if text.startswith(("[", "*")) else ""  # LaTeX would take them as arguments of the preceding \\
    return start + text.translate(LATEX).replace("+-", r"$\pm$")
