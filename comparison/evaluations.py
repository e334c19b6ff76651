"""Read the results of evaluate.py in the `evaluation/` of a run."""

from __future__ import annotations

import os
import shlex
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison.runs import Run, number_or_none
from utils.errors import UserError
from utils.find_run import SWEEP_RECORD
from utils.safe_reading import read_json
from utils.text import list_of

if TYPE_CHECKING:
    from comparison.significance import Counts

LARGEST_COUNTS = 1_000_000_000  # bytes of a .npz once unpacked
BY_CLASS = ("iou", "dice", "accuracy", "boundary_iou")


def evaluations(run: Run) -> list[str]:
    """Return the names of the evaluations of a run's best checkpoint, such as `test` and `val_flip`."""
    try:
        paths = sorted((run.path / "evaluation").glob("*.json"))
    except OSError:
        return []
    return [path.stem for path in paths if _content(run, path.stem)]


def evaluated(run: Run, name: str) -> float | None:
    """Return a metric of an evaluation, such as `test/miou` or `test/iou/sky`; None if there is none.

    It is also None if the run has had a better checkpoint since, or, for `last.pt`, a later one.
    """
    stem, _, metric = name.partition("/")
    content = _content(run, stem)
    if not content or is_stale(run, stem):
        return None
    kind, _, label = metric.partition("/")
    if not label:
        return number_or_none(content.get(metric))
    parts = content.get("classes") if kind in BY_CLASS else content
    values = parts.get(kind) if isinstance(parts, dict) else None
    return number_or_none(values.get(label)) if isinstance(values, dict) else None


def is_stale(run: Run, stem: str) -> bool:
    """Whether an evaluation measured another epoch than the best one, or an earlier one than the last of `last.pt`."""
    content = _content(run, stem)
    epoch = number_or_none(content.get("epoch"))
    if Path(str(content.get("checkpoint"))).name == "last.pt":
        last = run.last("epoch")
        return epoch is not None and last is not None and epoch < last
    return None not in (epoch, run.best_epoch) and epoch != run.best_epoch


def photos_of(run: Run, stem: str) -> str:
    """Return the fingerprint of the samples of an evaluation; '' if unknown."""
    return str(_content(run, stem).get("photos") or "")


def counts_of(run: Run, stem: str) -> Counts | None:
    """Return the pixels of each photo and class of an evaluation; None if there are none, or they are damaged."""
    import numpy as np  # imported here, since most tables do not need it

    from comparison.significance import Counts

    if not _content(run, stem) or is_stale(run, stem):
        return None
    path = run.path / "evaluation" / f"{stem}_counts.npz"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > LARGEST_COUNTS:
                return None
        with np.load(path, allow_pickle=False) as stored:
            found = Counts(stored["names"], stored["intersections"], stored["unions"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    shape = found.intersections.shape
    if len(shape) != 2 or found.unions.shape != shape or found.names.shape != shape[:1]:
        return None
    return found if all(part.dtype == np.int64 for part in found[1:]) else None


def validation_of(run: Run) -> str:
    """Return the name of the evaluation of a run's own validation split."""
    return "fold" if run.config.get("data.folds") else str(run.config.get("data.val_split", "val"))


def command_to_measure(runs: Sequence[Run], stem: str) -> str:
    """Return the command that measures runs on a split; '' or the name of their own is the validation split."""
    folder = runs[0].path.parent
    is_sweep = len({run.path.parent for run in runs}) == 1 and os.path.exists(folder / SWEEP_RECORD)  # noqa: PTH110 - never raises
    paths = [str(folder)] if is_sweep else [str(run.path) for run in runs]
    given = list_of(paths) if len(paths) > 1 else paths[0]
    split = [] if all(stem in ("", validation_of(run)) for run in runs) else [f"split={stem}"]
    return shlex.join(["python", "evaluate.py", f"runs={given}", *split])


def _content(run: Run, stem: str) -> dict[str, Any]:
    """Return the content of an evaluation's JSON file; {} if it cannot be read."""
    path = run.path / "evaluation" / f"{stem}.json"
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=4096)
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) and "miou" in found else {}
