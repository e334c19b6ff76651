"""Render rows of a comparison as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from comparison.columns import higher_is_better, is_score, shown, title_of
from comparison.rows import Row
from utils.tables import column_widths, duration, table
from utils.value_types import TableFormat

WEIGHTIEST = ("name", "job", "class", "n", "mIoU", "status", "model")
"""Columns that a narrow table keeps first, followed by the keys in which runs differ."""
ALWAYS = {"name", "job", "class", "n", "mIoU", "status"}
"""The ones among them that it keeps even with the same value in all rows."""
LIGHTEST = ("data", "epoch", "Dice", "seconds", "parameters", "images/s", "MACs")
"""Columns that it keeps after these; columns with the same value in all rows come last."""
LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
)


def rendered(
    rows: Sequence[Row],
    form: TableFormat,
    title: str = "",
    signed: bool = False,
    width: int | None = None,
    short: bool = False,
) -> str:
    """Return the rows as text.

    Args:
        signed: show numbers after the second column with a sign.
        width: most characters per line of a `table`; columns that do not fit are listed below it, or, if the rows are
            classes, are in another one.
        short: leave columns with the same value in all rows out of a `latex` table; a comment lists them.
    """
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if not is_part_of_cell(name)]
    if form == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False)
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: value if value is None else shown(value) for key, value in row.items()} for row in rows)
        return text.getvalue().rstrip("\n")
    cells = [[_cell(row, c, signed and i > 1, form) for i, c in enumerate(columns)] for row in rows]
    columns, cells = _without_repeated_group(columns, cells)
    if form == "table":
        return _fitted(columns, cells, title, width)
    if form == "markdown":
        lines = [[title_of(c, columns) for c in columns], ["---"] + ["--:"] * (len(columns) - 1), *cells]
        return "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    if not short or len(rows) < 2:
        return _booktabs(rows, columns, cells)
    by_column = dict(zip(columns, zip(*cells, strict=True), strict=True))
    same = {c: values[0] for c, values in by_column.items() if len(set(values)) == 1 and c != "name"}
    cells = [[cell for c, cell in zip(columns, line, strict=True) if c not in same] for line in cells]
    left_out = ", ".join(f"{column} {value}" for column, value in same.items() if value)
    note = f"% the same in all rows: {' '.join(left_out.split())}\n" if left_out else ""
    return note + _booktabs(rows, [column for column in columns if column not in same], cells)


def is_part_of_cell(column: str) -> bool:
    """Whether a value of a row belongs to another column."""
    return column == "n of" or column.endswith((" +-", " (runs)", " marks"))


def _without_repeated_group(columns: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Replace the column `group` by one with the same texts, such as `model`."""
    if columns[:1] == ["group"]:
        for place in range(1, len(columns)):
            if all(line[0] == line[place] for line in cells):
                order = [place, *(other for other in range(1, len(columns)) if other != place)]
                return [columns[i] for i in order], [[line[i] for i in order] for line in cells]
    return columns, cells


def _booktabs(rows: Sequence[Row], columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX table with the best score of each column in bold, and the marks of significant differences.

    A mean over only some of the runs is never marked as the best.
    """
    best = {}
    for column in columns:
        values = [row[column] for row in rows if isinstance(row.get(column), float) and not row.get(f"{column} (runs)")]
        if is_score(column) and len(set(values)) > 1 and "class" not in rows[0]:
            best[column] = (max if higher_is_better(column) else min)(values)
    lines = [" & ".join(_latex(title_of(column, columns)) for column in columns) + r" \\"]
    for row, line in zip(rows, cells, strict=True):
        drawn = []
        for column, cell in zip(columns, line, strict=True):
            text = _latex(cell)
            if column in best and row.get(column) == best[column] and not row.get(f"{column} (runs)"):
                text = rf"\textbf{{{text.partition(' ')[0]}}}{text[len(text.partition(' ')[0]) :]}"
            marks = str(row.get(f"{column} marks") or "").replace("+", r"\dagger")
            drawn.append(f"{text}$^{{{marks}}}$" if marks else text)
        lines.append(" & ".join(drawn) + r" \\")
    texts = {c for row in rows for c, value in row.items() if isinstance(value, str | bool | list | dict)}
    sides = "".join("l" if column in texts else "r" for column in columns)
    head = [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    return "\n".join([*head, lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _fitted(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str, width: int | None) -> str:
    """Return a table of at most this width, without the least important columns; of classes, several with all runs."""
    titles = [title_of(column, columns) for column in columns]
    rows = [titles, *cells]
    needed = dict(zip(columns, column_widths(rows), strict=True))
    if width is None or sum(needed.values()) < width:
        return table(rows, title)
    if columns[0] == "class":
        blocks = [[[row[i] for i in block] for row in rows] for block in _blocks(list(needed.values()), width)]
        return "\n\n".join(table(block, "" if place else title) for place, block in enumerate(blocks))
    places = {column: place for place, column in enumerate([*WEIGHTIEST, "a key", *LIGHTEST])}
    same = {column for column, texts in zip(columns, zip(*cells, strict=True), strict=True) if len(set(texts)) == 1}

    def lightness(column: str) -> tuple[bool, int]:
        return column in same - ALWAYS and len(rows) > 2, places.get(column, places["a key"])

    kept, used = set[str](), 1  # one border
    for column in sorted(columns, key=lightness):
        if used + needed[column] <= width or not kept:
            kept.add(column)
            used += needed[column]
    lines = [[cell for column, cell in zip(columns, row, strict=True) if column in kept] for row in rows]
    missing = ", ".join(name for column, name in zip(columns, titles, strict=True) if column not in kept)
    remedy = "choose columns with columns=[...], or pass format=csv or report=report.html for all"
    note = f"columns that do not fit: {missing}; {remedy}"
    return f"{table(lines, title)}\n{note}" if missing else table(lines, title)


def _cell(row: Row, column: str, signed: bool, form: TableFormat) -> str:
    """Return the text of a cell: the value and, if some runs lack one, the number of runs that it is the mean of."""
    runs = row.get(f"{column} (runs)")
    text = _value(row, column, signed, form)
    return f"{text} ({runs})" if runs else text


def _rounded(value: float) -> str:
    """Return a number with two decimals or, below 0.01, two significant digits."""
    return f"{value:.2g}" if 0 < value < 0.01 else f"{value:.2f}"


def _value(row: Row, column: str, signed: bool, form: TableFormat) -> str:
    value = row.get(column)
    if column == "n" and value != row.get("n of", value):
        return f"{value} of {row['n of']}"
    if value is None:
        return "" if column not in row or form != "table" else "-"
    if column == "seconds":
        return duration(value)
    if column == "parameters":
        return f"{_rounded(value / 1e6)} M"
    if column == "MACs":
        return f"{_rounded(value / 1e9)} G"
    if column == "images/s":
        return f"{value:.1f}"
    if not isinstance(value, float) or (not is_score(column) and "class" not in row):
        return f"{value:.4g}" if isinstance(value, float) else shown(value)
    deviation = row.get(f"{column} +-")
    text = f"{value:+.4f}" if signed else f"{value:.4f}"
    return text if deviation is None else f"{text} +- {deviation:.4f}"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    start = "{}" if text.startswith(("[", "*")) else ""  # LaTeX would take them as arguments of the preceding \\
    return start + text.translate(LATEX).replace("+-", r"$\pm$")


def _blocks(needed: Sequence[int], width: int) -> list[list[int]]:
    """Divide columns of these widths into blocks of at most `width`, each of which begins with the first two."""
    blocks, used = [[0, 1]], 1 + sum(needed[:2])
    for place in range(2, len(needed)):
        if used + needed[place] > width and len(blocks[-1]) > 2:
            blocks.append([0, 1])
            used = 1 + sum(needed[:2])
        blocks[-1].append(place)
        used += needed[place]
    return blocks
