"""Read run folders for a comparison. Missing or damaged files never stop it."""

from __future__ import annotations

import csv
import glob
import io
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils.config_values import flattened, listed
from utils.errors import UserError
from utils.find_run import LATEST, NEVER_STARTED, SWEEP_RECORD, never_started, without_link
from utils.paths import is_hidden, user_path
from utils.processes import current_status
from utils.safe_reading import plain_copy, read_json, read_text, read_yaml
from utils.text import cleaned

log = logging.getLogger(__name__)

BEGUN = (".hydra", "train.log", "config.yaml")  # what a run writes before its summary, in this order


@dataclass(frozen=True)
class Run:
    """A run folder; values that it lacks are missing from the results, not errors.

    Attributes:
        path: the folder.
        summary: the content of summary.json.
    """

    path: Path
    summary: Mapping[str, Any]

    @cached_property
    def name(self) -> str:
        """The folder's name; for a job of a sweep, `<sweep>/<job>`."""
        is_job = self.path.name.isdecimal() or os.path.exists(self.path.parent / SWEEP_RECORD)  # noqa: PTH110 - never raises
        return cleaned(f"{self.path.parent.name}/{self.path.name}" if is_job else self.path.name)

    @property
    def status(self) -> str:
        """The status in summary.json; `killed` if a run was running and its process, of this machine, is gone."""
        return current_status(self.summary, "unknown")

    @property
    def live_status(self) -> str:
        """The status; `running?` if a running run has not written anything for a while."""
        return "running?" if self.status == "running" and self.silence() > self._patience() else self.status

    def silence(self) -> float:
        """Return the seconds since anything was written to the folder."""
        return min(map(self.age, ("summary.json", "metrics.csv", "train.log", "checkpoints/last.pt")))

    def age(self, name: str) -> float:
        """Return the seconds since a file in the folder was written; infinity if it does not exist."""
        try:
            return max(time.time() - (self.path / name).stat().st_mtime, 0.0)
        except OSError:
            return math.inf

    def _patience(self) -> float:
        """Return the seconds within which a live run writes: three times an epoch or the checkpoint interval."""
        minutes = number_or_none(self.config.get("trainer.checkpoint_minutes"))
        waits = [*self.last_seconds(3), *([] if minutes is None else [60 * minutes])]
        return max(3 * min(waits, default=600.0), 120.0)

    def last_seconds(self, count: int) -> list[float]:
        """Return the seconds that each of the last epochs took, if known."""
        found = [number_or_none(row.get("seconds")) for row in self.rows[-count:]]
        return [seconds for seconds in found if seconds is not None]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config with keys as typed on the command line, `trainer.epochs`; {} if it cannot be read."""
        try:
            config = plain_copy(read_yaml(self.path / "config.yaml"), cleaned)
        except UserError:
            return {}
        return flattened(config) if isinstance(config, dict) else {}

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """The rows of metrics.csv without empty cells; [] if it cannot be read."""
        return self._undamaged_rows or []

    @cached_property
    def _undamaged_rows(self) -> list[dict[str, float]] | None:
        path = self.path / "metrics.csv"
        if not os.path.lexists(path):
            return []
        try:
            table = csv.DictReader(io.StringIO(read_text(path)))
            return [{k: float(v) for k, v in row.items() if k and v} for row in table]
        except (UserError, ValueError, TypeError, csv.Error):
            return None

    def damage(self, metrics: bool) -> list[str]:
        """Return a message for each file that is damaged and therefore missing from a comparison.

        Args:
            metrics: check metrics.csv too, which only reports need.
        """
        reasons = []
        if not self.config and os.path.lexists(self.path / "config.yaml"):
            reasons.append("its config.yaml is damaged: compared without its settings")
        if metrics and self._undamaged_rows is None:
            reasons.append("its metrics.csv is damaged: compared without its curves")
        return [cleaned(f"{self.path}: {reason}") for reason in reasons]

    def row(self, which: str) -> dict[str, Any]:
        """Return the row of the `best` or `last` epoch in the summary; {} if there is none."""
        row = self.summary.get(which)
        return row if isinstance(row, dict) else {}

    def best(self, metric: str) -> float | None:
        """Return a metric at the best epoch; None if there is none."""
        return number_or_none(self.row("best").get(metric))

    def last(self, metric: str) -> float | None:
        """Return a metric at the last epoch; None if there is none."""
        return number_or_none(self.row("last").get(metric))

    def option(self, group: str) -> str:
        """Return the chosen option of a config group, such as `enet` for `model`; '' if unknown."""
        options = self.summary.get("options")
        return str(options.get(group) or "") if isinstance(options, dict) else ""

    @property
    def best_epoch(self) -> int | None:
        epoch = self.best("epoch")
        return None if epoch is None else int(epoch)

    def number(self, key: str) -> float | None:
        """Return a number in the summary; None if there is none."""
        return number_or_none(self.summary.get(key))


def found_runs(runs: str | Sequence[str]) -> tuple[list[Run], list[str]]:
    """Return the runs in a folder or matching a pattern, or several of these, and why other folders were skipped.

    Raises:
        UserError: a folder or pattern in a list matches nothing.
    """
    folders: list[Path] = []
    for given in listed(runs):
        pattern = str(user_path(given, "runs"))
        names = [pattern] if os.path.isdir(pattern) else glob.glob(pattern)  # noqa: PTH112, PTH207 - never raise
        if not names and not isinstance(runs, str):
            raise UserError(f"runs: there is no folder {given}, and nothing matches it")
        folders += [Path(name) for name in names]
    return read_runs(folders)


def required_runs(runs: str | Sequence[str]) -> tuple[list[Run], list[str]]:
    """Return the same as `found_runs`, and log why folders were skipped.

    Raises:
        UserError: there is no run, or as for `found_runs`.
    """
    found, skipped = found_runs(runs)
    given = ", ".join(listed(runs))
    if not found and skipped == [f"{given}: {NEVER_STARTED}"]:
        raise UserError(f"runs={skipped[0]}; start it again")
    for reason in skipped:
        if found or not reason.startswith(f"{given}:"):  # the error below is about the folder itself
            log.warning("skipped %s", reason)
    if not found:
        raise UserError(
            f"runs={given}: there is no run; train one first, or pass a folder of runs, a sweep, a list, or a pattern"
            " such as 'experiments/2026-11*'"
        )
    return found, skipped


def read_runs(folders: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs in folders and in the sweeps in them, by name, and why other folders were skipped."""
    runs: list[Run] = []
    skipped: list[str] = []
    seen: set[Path] = set()
    for folder in sorted({without_link(folder) for folder in folders}):
        if not os.path.isdir(folder):  # noqa: PTH112 - never raises
            continue
        before = len(skipped)
        for path in _runs_at(folder, skipped) or ([folder] if len(skipped) == before else []):
            if path in seen:  # a list may name a sweep and its jobs
                continue
            seen.add(path)
            if not os.path.lexists(path / "summary.json"):
                unknown = "not a run, or one that failed before it started (there is no summary.json)"
                skipped.append(f"{path}: {NEVER_STARTED if never_started(path) else unknown}")
                continue
            try:
                summary = plain_copy(read_json(path / "summary.json"), cleaned)
            except (UserError, ValueError) as error:
                cause = error.__cause__
                reason = f"cannot be read ({cause.strerror})" if isinstance(cause, OSError) else "is damaged"
                skipped.append(f"{path}: its summary.json {reason}")
                continue
            if isinstance(summary, dict):
                runs.append(Run(path, summary))
            else:
                skipped.append(f"{path}: its summary.json was not written by a run")
    return runs, [cleaned(reason) for reason in skipped]


def _runs_at(folder: Path, skipped: list[str]) -> list[Path]:
    """Return the folder if it is a run, else the runs in it; append to `skipped` why a folder could not be read."""
    try:
        return [folder] if _is_there(folder / "summary.json") else _runs_in(folder, skipped)
    except OSError as error:
        skipped.append(f"{folder}: cannot be read ({error.strerror})")
        return []


def _runs_in(folder: Path, skipped: list[str], sweeps_too: bool = True) -> list[Path]:
    """Return the folders of runs, including those without a summary, in a folder and in the sweeps in it.

    Hidden folders in them are left out.
    """
    entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    children = [entry for entry in entries if os.path.isdir(entry)]  # noqa: PTH112 - never raises
    children = sorted((child for child in children if not (child.name == LATEST and child.is_symlink())), key=_place)
    is_sweep = _is_there(folder / SWEEP_RECORD)
    if not sweeps_too and not is_sweep and not all(child.name.isdecimal() for child in children):
        return []
    begun = BEGUN[:2] if is_sweep else BEGUN  # in a sweep, a config alone was put there by the user
    found = []
    for child in children:
        try:
            if _is_there(child / "summary.json"):
                found.append(child)
            elif any(_is_there(child / name) for name in begun) or (is_sweep and child.name.isdecimal()):
                found.append(child)  # reading it reports what is missing
            elif sweeps_too:
                found += _runs_in(child, skipped, sweeps_too=False)
        except OSError as error:
            skipped.append(f"{child}: cannot be read ({error.strerror})")
    return found


def _is_there(path: Path) -> bool:
    """Whether a file or folder exists; unlike `Path.exists`, raises OSError if that cannot be determined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _place(folder: Path) -> tuple[bool, int, str]:
    """Return a sort key: jobs by number, then other folders by name."""
    number = folder.name if folder.name.isdecimal() else "0"
    return not folder.name.isdecimal(), int(number), folder.name


def number_or_none(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of more than 308 digits
        return None
