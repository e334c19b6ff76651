"""The data set of each run, told by its name or by its samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from comparison.columns import shown
from comparison.runs import Run
from utils.text import enumeration, plural

CLASSES_SHOWN = 3
"""Classes in the name of a data set that differs in them from another one."""


def data_sets_of(runs: Iterable[Run]) -> list[str]:
    """Return a name for the data set of each run; runs of different data sets are not ranked in one table.

    The user's own data are told apart by their folders and classes. Folders with the same validation samples, such as
    one that was moved, get the name of the first of them.
    """
    names = []
    first: dict[tuple[str, str], str] = {}
    by_classes: dict[str, dict[tuple[str, ...], str]] = {}  # name of a folder -> classes -> name of the data set
    for run in runs:
        name, classes, chosen = run.option("data"), _classes_of(run), run.config.get("data.classes")
        if _is_own(run, classes):
            folder, samples = f"{name} {run.config.get('data.root')}", samples_of(run, "validation")
            name = first.setdefault((name, samples), folder) if samples else folder
            name = _name_of(classes, name, by_classes.setdefault(name, {})) if classes else name
        elif chosen is not None:
            name += f", {shown(chosen)} classes"
        names.append(name)
    return names


def _is_own(run: Run, classes: tuple[str, ...]) -> bool:
    """Whether the data are a folder of the user, or annotations like COCO's with categories of their own."""
    target = run.config.get("data._target_")
    is_coco = target == "data.coco.COCO"
    return target == "data.folder.Folder" or (is_coco and len(classes) not in (0, run.config.get("data.classes")))


def _name_of(classes: tuple[str, ...], folder: str, named: dict[tuple[str, ...], str]) -> str:
    """Return the name of the data set of a folder with these classes: that of the folder for its first classes.

    Args:
        named: the names by classes so far; a new one is added.
    """
    if classes not in named:
        shown_classes = enumeration(classes, CLASSES_SHOWN)
        other = f"{folder}, {plural(len(classes), 'class', 'classes')} ({shown_classes})" if named else folder
        named[classes] = f"{other}, no. {len(named) + 1}" if other in named.values() else other
    return named[classes]


def _classes_of(run: Run) -> tuple[str, ...]:
    """Return the names of the classes of a run; () if it has not validated yet."""
    return tuple(key.removeprefix("val/iou/") for key in run.row("best") if key.startswith("val/iou/"))


def by_data_set(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each data set, by its name."""
    found: dict[str, list[Run]] = {}
    for run, name in zip(runs, data_sets_of(runs), strict=True):
        found.setdefault(name, []).append(run)
    return found


def samples_of(run: Run, split: str) -> str:
    """Return the fingerprint of the samples of `train` or `validation`, whatever their folder; '' if unknown."""
    splits = run.summary.get("samples")
    found = splits.get(split) if isinstance(splits, dict) else None
    return str(found.get("sha256") or "") if isinstance(found, dict) else ""
