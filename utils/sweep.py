"""The folder of a sweep: what it was started with, which of its jobs are done, and its table at the end."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import yaml

from utils.checks import MAY_CHANGE, differences
from utils.errors import Occupied, UserError
from utils.run_folder import RunFolder

RECORD = "multirun.yaml"
"""The file that says what a sweep was started with; Hydra's basic sweeper writes it, too."""

MAY_BE_TYPED_ANEW = MAY_CHANGE - {"resume", "trainer.epochs"}
"""Keys that may be typed beside `sweep=` with another value than the sweep's; so may all of Hydra's own."""


def recorded_words(folder: Path) -> list[str]:
    """The words that a sweep was started with, as Hydra took them.

    Raises:
        UserError: it is not the folder of a sweep.
    """
    record = folder / RECORD
    if (folder / "config.yaml").is_file():
        raise UserError(f"sweep={folder}: a run, not a sweep; say resume={folder}")
    if not record.is_file():
        raise UserError(f"sweep={folder}: not the folder of a sweep: there is no {RECORD} in it")
    try:
        said = yaml.safe_load(record.read_text(encoding="utf-8"))["hydra"]["overrides"]
        words = [str(word) for word in [*said["task"], *said["hydra"]]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{record}: damaged, so it cannot be told what the sweep was started with") from error
    return [word for word in words if key_of(word) not in ("sweep", "hydra.sweep.dir", "hydra.mode")]


def merged_words(recorded: list[str], typed: list[str], folder: Path) -> list[str]:
    """The words of a sweep that goes on: those it was started with, and what is typed now of Hydra's own.

    Raises:
        UserError: something else is to be swept, or what was recorded could run any code.
    """
    known = {word.lstrip("+") for word in recorded}
    fresh = [word for word in typed if word.lstrip("+") not in known]
    for word in fresh:
        key = key_of(word)
        if not key.startswith("hydra") and key not in MAY_BE_TYPED_ANEW:
            said = [other.lstrip("+") for other in recorded if key_of(other) == key]
            was = f"with {said[0]}, not {word.lstrip('+')}" if said else f"without {word.lstrip('+')}"
            raise UserError(f"sweep={folder}: it was started {was}; start a new sweep for that")
    replaced = {key_of(word) for word in fresh}
    if "hydra/launcher" in replaced:  # the options of the one before are not its
        replaced |= {key_of(word) for word in recorded if key_of(word).startswith("hydra.launcher.")}
    kept = [word for word in recorded if key_of(word) not in replaced]
    for word in kept:
        if _runs_code(word) and word not in typed:
            raise UserError(
                f"{folder / RECORD} says {word}, which can run any code; if you trust it, say it beside sweep="
            )
    if any(key_of(word) == "hydra.sweeper.storage" and not word.endswith("=null") for word in [*kept, *fresh]):
        raise UserError(
            f"sweep={folder}: its study is kept in hydra.sweeper.storage; start the same command without sweep=,"
            " and the study goes on in a new folder"
        )
    return [*kept, *fresh]


def key_of(word: str) -> str:
    """`trainer.epochs` of `++trainer.epochs=3`."""
    return word.partition("=")[0].lstrip("+~")


def _runs_code(word: str) -> bool:
    """Whether a word of a sweep from anywhere could have more run than what conf/ names."""
    key = key_of(word)
    groups = ("hydra/launcher", "hydra/sweeper")
    harmless = ("hydra.sweeper", "hydra.launcher.n_jobs", "hydra.launcher.timeout_min")
    if key.startswith("hydra") and not key.startswith((*groups, *harmless)):
        return True
    return "_target_" in word or "custom_search_space" in word


def check_same(folder: RunFolder, config: dict[str, Any]) -> None:
    """Refuses to go on with a job that was trained with another config.

    Raises:
        Occupied: it was, and its folder is to stay as it is.
    """
    has_begun = folder.last.exists() or folder.read_summary().get("status") == "finished"
    if has_begun and (folder.path / "config.yaml").exists():
        before = yaml.safe_load((folder.path / "config.yaml").read_text(encoding="utf-8"))
        changed = differences(before, config, MAY_BE_TYPED_ANEW | {"sweep"})
        if changed:
            raise Occupied(
                f"{folder.path} was trained with another config: {'; '.join(changed)}\n"
                "undo that, or delete the folder to train it anew"
            )


def is_finished(folder: Path) -> bool:
    """Whether all jobs that a sweep has begun are finished."""
    return all(status == "finished" for status, _ in _states(folder).values())


def ending(folder: Path) -> str:
    """What to say of a sweep when it ends: a table of its jobs, what went wrong, and how to go on."""
    from comparison.runs import read_runs
    from comparison.table import differing_keys, rendered, rows_of

    runs, _ = read_runs([folder])
    states = _states(folder)
    lines = [""]
    if runs:
        rows = rows_of(runs, differing_keys(runs))
        hidden = [key for key in ("model", "data") if len({row[key] for row in rows}) == 1]
        for row, run in zip(rows, runs, strict=True):
            row["name"] = run.path.name
            for key in hidden:
                del row[key]
        lines.append(rendered([{"job": row.pop("name"), **row} for row in rows], "table", folder.name))
    reasons: dict[str, list[str]] = {}
    for job, (status, error) in states.items():
        if status == "failed":
            reasons.setdefault(error.splitlines()[0] if error else "see its train.log", []).append(job)
    for reason, jobs in reasons.items():
        short = reason if len(reason) <= 200 else reason[:197] + "..."
        lines.append(f"job{'s' if len(jobs) > 1 else ''} {', '.join(jobs)} failed: {short}")
    if all(status == "finished" for status, _ in states.values()) and states:
        lines.append(f"all {len(states)} finished; compare them: python compare.py {shlex.quote(f'runs={folder}')}")
    else:
        lines.append(
            "what is missing or unfinished: python train_segmentation.py --multirun " + shlex.quote(f"sweep={folder}")
        )
    return "\n".join(lines)


def _states(folder: Path) -> dict[str, tuple[str, str]]:
    """Status and error of each job, by its number."""
    jobs = sorted((job for job in folder.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
    summaries = {job.name: RunFolder(job).read_summary() for job in jobs}
    return {name: (str(s.get("status", "missing")), str(s.get("error") or "")) for name, s in summaries.items()}


def best_value(folder: RunFolder, metric: str) -> float:
    """A metric of a finished run at its best epoch, NaN where there is none."""
    value = (folder.read_summary().get("best") or {}).get(metric)
    return math.nan if value is None else float(value)
