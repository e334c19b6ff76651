"""The folder of a sweep: the states of its jobs, the jobs that were refused, and the summary at the end."""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from comparison.runs import read_runs
from config.checks import differences
from sweeps.resuming import OF_ONE_JOB, SWEEP_MAY_CHANGE
from utils.errors import Occupied, UserError
from utils.paths import is_there
from utils.processes import current_status
from utils.run_folder import RunFolder
from utils.safe_reading import read_yaml
from utils.text import plural

REFUSED = "refused.txt"
"""File that lists the refused jobs, which may have run in other processes than the one that prints the summary."""

DONE = ("finished", "pruned")
"""Statuses of jobs that are not run again."""


def check_same_config(folder: RunFolder, config: dict[str, Any]) -> None:
    """Check that a job which was trained before has the same config.

    Raises:
        Occupied: it has another one, or its files are damaged.
    """
    remedy = "delete the folder to train it again"
    try:
        summary = folder.read_summary()
        has_begun = is_there(folder.last) or summary.get("status") in DONE
        if not has_begun or not (folder.path / "config.yaml").exists():
            return
        before = read_yaml(folder.path / "config.yaml")
        may_change = SWEEP_MAY_CHANGE | {"sweep", "like"}
        if summary.get("resumed"):  # by itself, for more epochs
            may_change |= OF_ONE_JOB
        changed = differences(before, config, may_change)
    except (OSError, ValueError, AttributeError, UserError) as error:
        raise Occupied(f"{folder.path}: its summary.json or config.yaml is damaged; {remedy}") from error
    if changed:
        changes = "; ".join(changed)
        raise Occupied(f"{folder.path} was trained with another config: {changes}\nundo that, or {remedy}")


def note_refused(job: Path, reason: str) -> None:
    """Note that a job was refused, for the summary of the sweep."""
    with suppress(OSError), (job.parent / REFUSED).open("a", encoding="utf-8") as file:
        file.write(f"{job.name}: {' '.join(reason.split())}\n")


def clear_refused(folder: Path) -> None:
    """Forget the jobs that were refused earlier."""
    with suppress(OSError):
        (folder / REFUSED).unlink(missing_ok=True)


def jobs_begun(folder: Path) -> bool:
    """Whether a sweep has reached its first job."""
    return folder.is_dir() and any(path.is_dir() for path in folder.iterdir())


def is_finished(folder: Path) -> bool:
    """Whether all jobs that a sweep has begun are finished or pruned, and none was refused."""
    runs, skipped = read_runs([folder])
    return bool(runs) and not skipped and all(run.status in DONE for run in runs) and not _refused(folder)


def running(folder: Path) -> set[str]:
    """Return the jobs with the status `running`."""
    return {run.path.name for run in read_runs([folder])[0] if run.status == "running"}


def summary(folder: Path, complete: bool) -> str:
    """Summarise a sweep at its end: a table of its jobs, failures, and the next command.

    Args:
        complete: whether all jobs were started.
    """
    from comparison.rendering import rendered
    from comparison.rows import differing_keys, rows_of
    from utils.tables import WITHOUT_TERMINAL, terminal_width

    runs, _ = read_runs([folder])
    lines = [""]
    if runs:
        rows = rows_of(runs, differing_keys(runs))
        hidden = {"name", *(key for key in ("model", "data") if len({row[key] for row in rows}) == 1)}
        rows = [
            {"job": run.path.name, **{key: value for key, value in row.items() if key not in hidden}}
            for row, run in zip(rows, runs, strict=True)
        ]
        lines.append(rendered(rows, "table", folder.name, width=terminal_width() or WITHOUT_TERMINAL))
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if run.status == "failed":
            error = str(run.summary.get("error") or "see its train.log")
            reasons.setdefault(error.splitlines()[0], []).append(run.path.name)
    for reason, jobs in reasons.items():
        short = reason if len(reason) <= 200 else reason[:197] + "..."
        lines.append(f"job{'s' * (len(jobs) > 1)} {', '.join(jobs)} failed: {short}")
    lines += [f"job {line}" for line in _refused(folder)]
    if complete and is_finished(folder):
        pruned = sum(run.status == "pruned" for run in runs)
        which = f", {pruned} of them pruned" if pruned else ""
        command = f"python compare.py {shlex.quote(f'runs={folder}')}"
        lines.append(f"{'all ' * (len(runs) > 1)}{plural(len(runs), 'job')} finished{which}; compare: {command}")
    else:
        word = shlex.quote(f"sweep={folder}")
        lines.append(f"run what is missing or unfinished: python train_segmentation.py --multirun {word}")
    return "\n".join(lines)


def status_of(job: Path) -> str:
    """Return the `current_status` of a job; `missing` without a summary.json, `damaged` if that is."""
    try:
        return current_status(RunFolder(job).read_summary(), "missing")
    except UserError:
        return "damaged"


def best_value(folder: RunFolder, metric: str) -> float:
    """Return a metric of a finished run at its best epoch; NaN if it has none."""
    value = (folder.read_summary().get("best") or {}).get(metric)
    return math.nan if value is None else float(value)


def _refused(folder: Path) -> list[str]:
    """Return a line for each job that was refused."""
    try:
        return (folder / REFUSED).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
