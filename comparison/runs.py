"""Run folders as a comparison reads them: whatever is there, and nothing that stops it."""

from __future__ import annotations

import csv
import glob
import io
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from comparison.reading import read_json, read_text, read_yaml
from utils.flat import flattened
from utils.paths import user_path
from utils.text import cleaned

SWEEP = "multirun.yaml"  # says what a sweep was started with
BEGUN = ("config.yaml", ".hydra", "train.log")  # what a run has before its summary
LARGEST_METRICS = 64_000_000  # bytes of a metrics.csv


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself; a key that it lacks is left out.

    Attributes:
        path: the folder.
        summary: summary.json.
    """

    path: Path
    summary: Mapping[str, Any]

    @cached_property
    def name(self) -> str:
        """The folder's name; of a job of a sweep, the sweep's as well."""
        is_job = self.path.name.isdecimal() or os.path.exists(self.path.parent / SWEEP)  # noqa: PTH110 - never raises
        return cleaned(f"{self.path.parent.name}/{self.path.name}" if is_job else self.path.name)

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
        epochs = [seconds for row in self.rows[-3:] if (seconds := number_or_none(row.get("seconds"))) is not None]
        minutes = as_number(self.config.get("trainer.checkpoint_minutes"))
        waits = [*epochs, *([] if math.isnan(minutes) else [60 * minutes])]
        return max(3 * min(waits, default=600.0), 120.0)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config with keys as they are typed, `trainer.epochs`; {} where it cannot be read."""
        try:
            config = read_yaml(self.path / "config.yaml")
        except (OSError, ValueError):
            return {}
        return flattened(config) if isinstance(config, dict) else {}

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """The epochs of metrics.csv, without empty cells; [] where it cannot be read."""
        try:
            table = csv.DictReader(io.StringIO(read_text(self.path / "metrics.csv", LARGEST_METRICS)))
            return [{k: float(v) for k, v in row.items() if k and v} for row in table]
        except (OSError, ValueError, TypeError, csv.Error):
            return []

    def damage(self, metrics: bool) -> list[str]:
        """What of the folder cannot be read and is missing in a comparison, in words.

        Args:
            metrics: look at metrics.csv too, which only reports need.
        """
        reasons = []
        if not self.config and os.path.lexists(self.path / "config.yaml"):
            reasons.append("its config.yaml is damaged: compared without its settings")
        if metrics and not self.rows and self._size("metrics.csv") > 0:
            reasons.append("its metrics.csv is damaged: compared without its curves")
        return [cleaned(f"{self.path}: {reason}") for reason in reasons]

    def _size(self, name: str) -> int:
        """Bytes after the first line of a file of the folder; 0 where it cannot be read."""
        try:
            return len(read_text(self.path / name, LARGEST_METRICS).partition("\n")[2])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            return 1

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


def found_runs(runs: str) -> tuple[list[Run], list[str]]:
    """The runs that a folder or pattern names; and why the others were left out."""
    pattern = str(user_path(runs, "runs"))
    names = [pattern] if os.path.isdir(pattern) else glob.glob(pattern)  # noqa: PTH112, PTH207 - never raise
    return read_runs(Path(name) for name in names)


def read_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in some folders, those of sweeps included, by name; and why the others were left out."""
    runs: list[Run] = []
    skipped: list[str] = []
    for folder in sorted(set(folders)):
        if not os.path.isdir(folder):  # noqa: PTH112 - which never raises
            continue
        told = len(skipped)
        for path in _runs_at(folder, skipped) or ([folder] if len(skipped) == told else []):
            try:
                summary = read_json(path / "summary.json")
            except FileNotFoundError:
                skipped.append(f"{path}: no run, or one that ended before it began (there is no summary.json)")
            except OSError as error:
                skipped.append(f"{path}: its summary.json cannot be read ({error.strerror})")
            except ValueError:
                skipped.append(f"{path}: its summary.json is damaged")
            else:
                if isinstance(summary, dict):
                    runs.append(Run(path, summary))
                else:
                    skipped.append(f"{path}: its summary.json is not one of a run")
    return runs, [cleaned(reason) for reason in skipped]


def _runs_at(folder: Path, skipped: list[str]) -> list[Path]:
    """A run itself, or the runs in a folder; adds to `skipped` why one of the folders could not be looked into."""
    try:
        return [folder] if _is_there(folder / "summary.json") else _runs_in(folder, skipped)
    except OSError as error:
        skipped.append(f"{folder}: cannot be read ({error.strerror})")
        return []


def _runs_in(folder: Path, skipped: list[str], sweeps_too: bool = True) -> list[Path]:
    """What is a run, or was to be one, in a folder and in the sweeps in it; [] in a folder of something else."""
    children = sorted((child for child in folder.iterdir() if os.path.isdir(child)), key=_place)  # noqa: PTH112
    is_sweep = _is_there(folder / SWEEP)
    if not sweeps_too and not is_sweep and not all(child.name.isdecimal() for child in children):
        return []
    found = []
    for child in children:
        try:
            if _is_there(child / "summary.json"):
                found.append(child)
            elif any(_is_there(child / name) for name in BEGUN) or (is_sweep and child.name.isdecimal()):
                found.append(child)  # whoever reads it tells what is missing
            elif sweeps_too:
                found += _runs_in(child, skipped, sweeps_too=False)
        except OSError as error:
            skipped.append(f"{child}: cannot be read ({error.strerror})")
    return found


def _is_there(path: Path) -> bool:
    """Whether there is such a file or folder; raises OSError where that cannot be seen, unlike `Path.exists`."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _place(folder: Path) -> tuple[bool, int, str]:
    """Jobs by their number, other folders by name."""
    number = folder.name if folder.name.isdecimal() else "0"
    return not folder.name.isdecimal(), int(number), folder.name


def as_number(value: Any) -> float:
    """A number, NaN in place of anything else."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan


def number_or_none(value: Any) -> float | None:
    """A finite number, None in place of anything else."""
    number = as_number(value)
    return number if math.isfinite(number) else None
