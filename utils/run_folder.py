"""The files of a run folder that tell what happened: metrics.csv and summary.json."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from utils.errors import LostProcess, UserError
from utils.files import make_folder, replacing
from utils.interruption import Interrupted


def metric_columns(terms: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The columns of metrics.csv, in their order, for the terms of a loss and the classes of a data set."""
    losses = ["loss", *terms]
    return [
        *("epoch", "step", "lr"),
        *(f"train/{name}" for name in losses),
        *(f"val/{name}" for name in losses),
        *("val/miou", "val/dice", "val/pixel_accuracy"),
        *(f"val/iou/{name}" for name in classes),
        *("images_per_second", "seconds"),
    ]


class RunFolder:
    """One run's folder. Rows and summary are written so that a reader never sees half a file.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self.metrics = self.path / "metrics.csv"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.pt"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.pt"

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.yaml, the resolved config."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_rows(self, columns: list[str], rows: list[dict[str, float]]) -> None:
        """Writes metrics.csv: a row an epoch, an empty cell where there is no value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        write_text(self.metrics, text.getvalue())

    def write_confusion(self, names: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
        """Writes figures/confusion_matrix.csv: pixels of each true class (row) by predicted class (column)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true class", *names])
        writer.writerows([name, *row] for name, row in zip(names, counts, strict=True))
        make_folder(self.figures)
        write_text(self.figures / "confusion_matrix.csv", text.getvalue())

    def read_rows(self, up_to_epoch: int | None = None) -> list[dict[str, float]]:
        """Rows of metrics.csv, without empty cells, up to and including an epoch; [] if there is none."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        return [row for row in rows if up_to_epoch is None or row["epoch"] <= up_to_epoch]

    def read_summary(self) -> dict[str, Any]:
        """summary.json, or {} if there is none."""
        path = self.path / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @contextmanager
    def recording(self, **facts: Any) -> Iterator[None]:
        """Keeps `status` and the times in summary.json true while a run trains; `facts` are written at its start.

        `seconds` adds up over the sessions of a run that was continued.
        """
        before = self.read_summary()
        began, earlier = time.perf_counter(), before.get("seconds", 0.0)
        self.update_summary(status="running", started=before.get("started", _now()), ended=None, error=None, **facts)

        def end(status: str, error: str | None = None) -> None:
            seconds = earlier + time.perf_counter() - began
            self._close_summary(status=status, ended=_now(), seconds=round(seconds, 3), error=error)

        try:
            yield
        except (Interrupted, KeyboardInterrupt, SystemExit):
            end("interrupted")
            raise
        except BaseException as error:
            if self.read_summary().get("status") == "running":  # another process may have said more
                end("failed", f"{type(error).__name__}: {error}")
            raise
        end("finished")

    @contextmanager
    def recording_failure(self, process: int) -> Iterator[None]:
        """Tells summary.json if another process than the first fails."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt, SystemExit):
            raise
        except LostProcess as error:
            if self.read_summary().get("status") == "running":  # that process had no time to say so
                self._close_summary(status="failed", ended=_now(), error=str(error))
            raise
        except BaseException as error:
            text = f"process {process}: {type(error).__name__}: {error}"
            self._close_summary(status="failed", ended=_now(), error=text)
            raise

    def _close_summary(self, **values: Any) -> None:
        """As `update_summary`, at the end of a run that may have ended because nothing can be written any more."""
        try:
            self.update_summary(**values)
        except UserError:
            with suppress(OSError):  # in place, where the old file has room for it
                text = _json({**self.read_summary(), **values})
                with (self.path / "summary.json").open("r+", encoding="utf-8") as file:
                    file.write(text)
                    file.truncate()

    def update_summary(self, **values: Any) -> None:
        """Sets values in summary.json; numbers that JSON lacks (NaN) become null."""
        write_json(self.path / "summary.json", {**self.read_summary(), **values})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def write_text(path: Path, text: str) -> None:
    """Writes a small file whole or not at all; errors as `utils.files.replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all; numbers that JSON lacks (NaN) become null."""
    write_text(path, _json(values))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(_without_nan(values), indent=2, ensure_ascii=False) + "\n"


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.10g}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
