"""The files of a run folder: config.yaml, metrics.csv, summary.json and figures/confusion_matrix.csv."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from utils.errors import LostProcess, Pruned, UserError
from utils.files import atomic_write, json_text, make_folder, write_csv, write_json, write_text
from utils.interruption import Interrupted
from utils.paths import is_file, is_folder
from utils.processes import this_process
from utils.safe_reading import FileSchema, check_schema, read_json, read_text
from utils.text import plural, shown

NEW_SUMMARY = "restore it, or delete it to resume without it"
NEW_METRICS = "fix it, or delete it to resume without the rows before"


class StoredFingerprint(FileSchema):
    """As `data.fingerprint.fingerprint` returns it."""

    samples: int
    names: str
    sha256: str


class StoredSamples(FileSchema):
    """The samples that a run began with."""

    train: StoredFingerprint
    validation: StoredFingerprint


class StoredSummary(FileSchema):
    """The values of summary.json that the program reads again."""

    status: str | None = None
    started: str | None = None
    seconds: float | None = None
    error: str | None = None
    best: dict[str, float | None] | None = None
    last: dict[str, float | None] | None = None
    options: dict[str, str | None] = {}
    resumed: list[list[str]] = []
    samples: StoredSamples | None = None
    environment: dict[str, Any] | None = None


def run_of(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint (run folder or file) belongs to; None if there is none."""
    if is_folder(checkpoint):
        return checkpoint
    run = checkpoint.parent.parent
    return run if checkpoint.parent.name == "checkpoints" and is_file(run / "config.yaml") else None


class RunFolder:
    """The folder of a run. Its files are replaced as a whole, so that readers never see half a file.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self.metrics = self.path / "metrics.csv"
        self.best = self.checkpoints / "best.pt"
        self.last = self.checkpoints / "last.pt"

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.yaml, the resolved config."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_code_diff(self, diff: bytes) -> None:
        """Write code.diff: how the code differs from the commit in summary.json. `git apply` restores it."""
        with atomic_write(self.path / "code.diff") as file:
            file.write(diff)

    def write_rows(self, columns: list[str], rows: list[dict[str, float]]) -> None:
        """Write metrics.csv: one row per epoch, with empty cells for missing values."""
        write_csv(self.metrics, [columns, *([_cell(row.get(column)) for column in columns] for row in rows)])

    def write_confusion(self, names: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
        """Write figures/confusion_matrix.csv: pixels of each true class (row) by predicted class (column)."""
        rows = [[name, *row] for name, row in zip(names, counts, strict=True)]
        make_folder(self.figures)
        write_csv(self.figures / "confusion_matrix.csv", [["true class", *names], *rows])

    def read_rows(self, up_to_epoch: int | None = None, columns: Sequence[str] | None = None) -> list[dict[str, float]]:
        """Read the rows of metrics.csv without empty cells; [] if the file does not exist.

        Args:
            up_to_epoch: the last epoch to return; None is all.
            columns: the columns that the file must have; None is any with `epoch`.

        Raises:
            UserError: a line is not as `write_rows` writes it.
        """
        if not self.metrics.exists():
            return []
        reader = csv.reader(io.StringIO(read_text(self.metrics, NEW_METRICS), newline=""), strict=True)
        rows: list[dict[str, float]] = []
        try:
            head = next(reader, [])
            self._check_head(head, columns)
            for cells in reader:
                if cells:
                    rows.append(self._row(head, cells, f"{self.metrics}, line {reader.line_num}"))
                    if len(rows) > 1 and rows[-1]["epoch"] <= rows[-2]["epoch"]:
                        raise UserError(
                            f"{self.metrics}, line {reader.line_num}: epoch {rows[-1]['epoch']:g} follows epoch"
                            f" {rows[-2]['epoch']:g}; {NEW_METRICS}"
                        )
        except csv.Error as error:
            raise UserError(f"{self.metrics}, line {reader.line_num}: {error}; {NEW_METRICS}") from error
        return [row for row in rows if up_to_epoch is None or row["epoch"] <= up_to_epoch]

    def _check_head(self, head: Sequence[str], columns: Sequence[str] | None) -> None:
        missing = [column for column in columns or ["epoch"] if column not in head]
        strange = [column for column in head if column not in columns] if columns else []
        if missing or strange or len(set(head)) < len(head):
            wrong = "a column occurs twice"
            if strange:
                wrong = f"the column '{shown(strange[0])}' is not one of this run"
            if missing:
                wrong = f"the column {shown(missing[0])} is missing; cells are separated by commas"
            raise UserError(f"{self.metrics}, line 1: {wrong}; {NEW_METRICS}")

    @staticmethod
    def _row(head: Sequence[str], cells: Sequence[str], place: str) -> dict[str, float]:
        if len(cells) != len(head):
            raise UserError(f"{place}: {plural(len(cells), 'cell')} where line 1 has {len(head)}; {NEW_METRICS}")
        row = {}
        for column, cell in zip(head, cells, strict=True):
            try:
                if cell:
                    row[column] = float(cell)
            except ValueError:
                raise UserError(f"{place}: {column} is '{shown(cell)}', not a number; {NEW_METRICS}") from None
        if not (row.get("epoch", math.nan) >= 1 and row["epoch"].is_integer()):
            raise UserError(f"{place}: epoch is not a whole number from 1; {NEW_METRICS}")
        return row

    def read_summary(self) -> dict[str, Any]:
        """Read summary.json; {} if it does not exist.

        Raises:
            UserError: it is not valid JSON, or a value has another type.
        """
        path = self.path / "summary.json"
        if not path.exists():
            return {}
        summary = read_json(path, NEW_SUMMARY)
        check_schema(StoredSummary, summary, path, NEW_SUMMARY)
        return summary

    def usable_threads(self) -> int | None:
        """Return the number of threads in summary.json; None if there is none, or more than this machine has cores.

        Raises the same errors as `read_summary`.
        """
        threads = (self.read_summary().get("environment") or {}).get("threads")
        return threads if isinstance(threads, int) and 1 <= threads <= (os.cpu_count() or 1) else None

    @contextmanager
    def recording(self, **facts: Any) -> Iterator[None]:
        """Write `facts` to summary.json, and keep its status and times up to date while a run trains.

        `seconds` is the sum over the sessions of a resumed run.
        """
        before = self.read_summary()
        began, earlier = time.perf_counter(), before.get("seconds") or 0.0
        started = before.get("started", _now())
        self.update_summary(status="running", started=started, ended=None, error=None, process=this_process(), **facts)

        def end(status: str, error: str | None = None) -> None:
            if status != "finished" and self.read_summary().get("status") != "running":
                return  # another process failed first, and has reported it
            seconds = earlier + time.perf_counter() - began
            self._close_summary(status=status, ended=_now(), seconds=round(seconds, 3), error=error)

        try:
            yield
        except (Interrupted, KeyboardInterrupt, SystemExit):
            end("interrupted")
            raise
        except Pruned:
            end("pruned")
            raise
        except BaseException as error:
            end("failed", f"{type(error).__name__}: {error}")
            raise
        end("finished")

    @contextmanager
    def recording_failure(self, process: int) -> Iterator[None]:
        """Record in summary.json that another process than the first fails."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt, SystemExit):
            raise
        except LostProcess as error:
            if self.read_summary().get("status") == "running":  # that process had no time to report it
                self._close_summary(status="failed", ended=_now(), error=str(error))
            raise
        except BaseException as error:
            text = f"process {process}: {type(error).__name__}: {error}"
            self._close_summary(status="failed", ended=_now(), error=text)
            raise

    def _close_summary(self, **values: Any) -> None:
        """Update summary.json at the end of a run, which may have ended because the disk is full."""
        try:
            self.update_summary(**values)
        except UserError:
            with suppress(OSError, UserError):  # in place, in the space of the old file
                text = json_text({**self.read_summary(), **values})
                with (self.path / "summary.json").open("r+", encoding="utf-8") as file:
                    file.write(text)
                    file.truncate()

    def update_summary(self, **values: Any) -> None:
        """Set values in summary.json. NaN and infinite numbers become null."""
        write_json(self.path / "summary.json", {**self.read_summary(), **values})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.10g}"
