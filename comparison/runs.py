"""Run folders as a comparison reads them: whatever is there, and nothing that stops it."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times as fast


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself; a key that it lacks is left out.

    Attributes:
        path: the folder.
        summary: summary.json.
    """

    path: Path
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name; of a job of a sweep, the sweep's as well."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.name.isdigit() else self.path.name

    @property
    def status(self) -> str:
        return str(self.summary.get("status", "unknown"))

    @property
    def live_status(self) -> str:
        """The status, with a question mark where a run that should be running has written nothing for long."""
        return "running?" if self.status == "running" and self.silence() > self._patience() else self.status

    def silence(self) -> float:
        """Seconds since something was written into the folder."""
        return min(map(self._age, ("summary.json", "metrics.csv", "train.log", "checkpoints/last.pt")))

    def since_last_epoch(self) -> float:
        """Seconds since the last row of metrics.csv was written; infinite where there is none."""
        return self._age("metrics.csv")

    def _age(self, name: str) -> float:
        """Seconds since a file of the folder was written; infinite where it is not there."""
        try:
            return max(time.time() - (self.path / name).stat().st_mtime, 0.0)
        except OSError:
            return math.inf

    def _patience(self) -> float:
        """Seconds in which a run that is alive writes something: three times what its epochs or checkpoints take."""
        epochs = [row["seconds"] for row in self.rows[-3:] if "seconds" in row]
        minutes = as_number(self.config.get("trainer.checkpoint_minutes"))
        waits = [*epochs, *([] if math.isnan(minutes) else [60 * minutes])]
        return max(3 * min(waits, default=600.0), 120.0)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config with keys as they are typed, `trainer.epochs`; {} where it cannot be read."""
        try:
            config = yaml.load((self.path / "config.yaml").read_text(encoding="utf-8"), Loader)
            return flat(config) if isinstance(config, dict) else {}
        except (OSError, ValueError, RecursionError, yaml.YAMLError):  # an anchor may hold itself
            return {}

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """The epochs of metrics.csv, without empty cells; [] where it cannot be read."""
        try:
            with (self.path / "metrics.csv").open(newline="", encoding="utf-8") as file:
                return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(file)]
        except (OSError, ValueError, TypeError, csv.Error):
            return []

    def row(self, which: str) -> dict[str, Any]:
        """The epoch that the summary calls `best` or `last`; {} where there is none."""
        row = self.summary.get(which)
        return row if isinstance(row, dict) else {}

    def best(self, metric: str) -> float:
        """A metric at the best epoch, NaN where there is none."""
        return as_number(self.row("best").get(metric))

    @property
    def best_epoch(self) -> int | None:
        epoch = as_number(self.row("best").get("epoch"))
        return int(epoch) if math.isfinite(epoch) else None

    def number(self, key: str) -> float:
        """A number of the summary, NaN where there is none."""
        return as_number(self.summary.get(key))


def read_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in some folders, those of sweeps included, by name; and why the others were left out."""
    runs, skipped = [], []
    for folder in sorted(set(folders)):
        if not folder.is_dir():
            continue
        try:
            jobs = _runs_in(folder)
        except OSError as error:
            skipped.append(f"{folder}: cannot be read ({error.strerror})")
            continue
        for job in jobs:
            try:
                summary = json.loads((job / "summary.json").read_text(encoding="utf-8"))
            except OSError as error:
                skipped.append(f"{job}: no run, or one that ended before it began ({error.strerror}: summary.json)")
            except (ValueError, RecursionError):
                skipped.append(f"{job}: its summary.json is damaged")
            else:
                if isinstance(summary, dict):
                    runs.append(Run(job, summary))
                else:
                    skipped.append(f"{job}: its summary.json is not one of a run")
    return runs, skipped


def _runs_in(folder: Path) -> list[Path]:
    """A run itself; the runs in a folder of them, the jobs of sweeps included."""
    if (folder / "summary.json").exists():
        return [folder]
    inside = sorted(child for child in folder.iterdir() if child.is_dir())
    jobs = sorted((child for child in inside if child.name.isdigit()), key=lambda job: int(job.name))
    if jobs:
        return jobs
    runs = [child for child in inside if (child / "summary.json").exists() or (child / "0").is_dir()]
    return [run for child in runs for run in _runs_in(child)] or [folder]


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"a.b.0.c": value} of nested dictionaries and lists of them; a list of plain values is a value."""
    nested = isinstance(node, dict) or (isinstance(node, list) and any(isinstance(item, dict) for item in node))
    if not nested or not node:
        return {prefix[:-1]: node}
    found: dict[str, Any] = {}
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        found |= flat(value, f"{prefix}{key}.")
    return found


def as_number(value: Any) -> float:
    """A number, NaN in place of anything else."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan
