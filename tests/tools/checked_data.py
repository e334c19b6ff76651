"""Run tools.check_data and read what it writes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.layouts import blocks, photo, write
from tests.in_process import run_here
from tools.check_data import check

Make = Callable[[Path], Path]
FINDING = re.compile(r"(missing pair|unreadable|size|unknown id|leak|empty|labels): (.*)")


def check_here(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(check, "check_data", *words, cwd=cwd)


def findings(output: Path) -> dict[str, list[str]]:
    """Kind -> lines of findings.txt."""
    found: dict[str, list[str]] = {}
    text = (output / "findings.txt").read_text()
    for line in [] if text == "no mistakes found\n" else text.splitlines():
        match = FINDING.fullmatch(line)
        assert match, line
        found.setdefault(match[1], []).append(match[2])
    return found


def tables(done: subprocess.CompletedProcess) -> dict[str, dict[str, list[str]]]:
    """Split -> class -> cells of its row, as printed."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in done.stderr.splitlines():
        title = re.search(r"\+(\w+), \d+ samples?", line)
        if title:
            rows = found.setdefault(title[1], {})
        if line.startswith("| "):
            name, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            rows[name] = cells
    return found


def make_camvid(root: Path, count: int = 3) -> Path:
    for first, split in ((0, "train"), (100, "val")):
        for i in range(count):
            write(root / split / f"{i}.png", photo(first + i))
            write(root / f"{split}annot" / f"{i}.png", blocks(i, list(range(12))))
    return root


def drawn_panels(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The panels of the sheets that are drawn from now on."""
    from visualization import figures

    seen: list[tuple[str, np.ndarray, np.ndarray]] = []
    draw = figures.draw_sheet

    def spy(panels: list, *rest: object, **more: object) -> None:
        seen.extend(panels)
        draw(panels, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(figures, "draw_sheet", spy)
    return seen
