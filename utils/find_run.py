"""Find run folders by name, and keep `experiments/latest`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from utils import torchrun
from utils.bundled_weights import bundled_names
from utils.errors import UserError
from utils.paths import is_folder, is_hidden, is_there, user_path

EXPERIMENTS = Path("experiments")
LATEST = "latest"
"""Name of the link to the run or sweep that was started last. Where links cannot be made, a file with its name."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}_")
OF_SWEEP = "_sweep"
"""End of the name of a sweep's folder, after the `name` of its jobs."""
TAKES_FILES = ("checkpoint", "distill.teacher", "model.weights")
"""Keys that also take a file, or the name of a network in `weights/`."""
SWEEP_RECORD = "multirun.yaml"
"""File in the folder of a sweep with the words that it was started with, as Hydra's basic sweeper writes it."""
MARKS = ("config.yaml", ".hydra", "checkpoints", "summary.json", SWEEP_RECORD)
"""Files and folders by which a run or sweep is recognised; some exist from its start."""
NEVER_STARTED = "it was ended before it started, or is still starting"
LISTED = 4
"""Folders or names that a message lists at most."""


def find_run(given: str, key: str) -> str:
    """Return the path of the run or sweep that `find_runs` finds; of several with the same name, the newest.

    A note on stderr says which one that is. `dice` can also be the sweep `dice_sweep`; if a run has that name too, only
    the keys `sweep` and `resume` are unambiguous.

    Raises:
        UserError: as for `find_runs`, or several names match.
    """
    found = find_runs(given, key)
    if key in ("resume", "sweep"):
        found = [path for path in found if path.endswith(OF_SWEEP) == (key == "sweep")] or found
    if len(found) == 1:
        return found[0]
    if len({_without_stamp(Path(path).parts[1]) for path in found}) > 1:
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        listed = ", ".join(found[-LISTED:])
        raise UserError(f"{key}={given}: {len(found)} folders match: {listed}{more}; pass more of the name")
    note(f"{key}={given}: {found[-1]}, the newest of {len(found)} with this name")
    return found[-1]


def find_runs(given: str, key: str) -> list[str]:
    """Return the paths of the runs and sweeps that the value of a key stands for, oldest first.

    The first line that applies counts:

    | `given`                                                                            | found             |
    |------------------------------------------------------------------------------------|-------------------|
    | existing `./<path>`, `experiments/<path>`, absolute path or path with `..`          | that path         |
    | path of a run, a sweep or a folder of runs; for `TAKES_FILES` of a file with suffix | that path         |
    | for `TAKES_FILES`, the name of a network in `weights/`                              | `given` unchanged |
    | `latest`                                                                           | what began last   |
    | name in experiments/, with or without its time, and of a sweep without `_sweep`     | all of that name  |
    | path of anything else, such as a folder of photos                                  | that path         |
    | the beginning of such a name                                                       | all that match    |

    A name may be followed by further parts, such as the number of a job. A note on stderr says so if something else
    has the same name.

    Args:
        given: as typed.
        key: the key that it was typed for.

    Raises:
        UserError: nothing matches.
    """
    path = user_path(given, key)
    exists = is_there(path) or path == EXPERIMENTS
    is_network = key in TAKES_FILES and str(path) in bundled_names()
    is_file_of_key = key in TAKES_FILES and path.suffix != "" and not is_folder(path)
    if exists and (_is_explicit(given, path) or is_file_of_key or _holds_runs(path)):
        if is_network and given.startswith("."):
            return [str(path.absolute())]  # the relative path is the name of the network
        return [given if path.is_absolute() else str(without_link(path))]
    if is_network:
        if exists:
            note(f"{key}={given}: the network of weights/; for what is here, pass ./{given}")
        runs = [str(folder) for folder in _folders() if _without_stamp(folder.name) == given]
        if runs:
            note(f"{key}={given}: the network of weights/; for the run, pass {runs[-1]}")
        return [given]
    parts = path.parts[1:] if path.parts[:1] == (EXPERIMENTS.name,) else path.parts
    if path.is_absolute() or not parts or ".." in parts:
        raise UserError(_nothing_found(given, key, path.name))
    folders = _named(parts[0])
    found = _inside(folders, parts[1:])
    if exists:
        if found:
            note(f"{key}={given}: {path} is not a run, but {found[-1]} is")
        return found or [str(path)]
    if not folders and parts[0] != LATEST:
        folders = [folder for folder in _folders() if any(name.startswith(parts[0]) for name in _names(folder)[:2])]
        found = _inside(folders, parts[1:])
    if not folders:
        raise UserError(_nothing_found(given, key, parts[0]))
    newest = {_without_stamp(folder.name): folder for folder in folders}
    if not _inside([*newest.values()], parts[1:]):  # an older run is not taken instead
        raise UserError(f"{key}={given}: there is no {Path(*parts[1:])} in {folders[-1]}")
    return found


def _is_explicit(given: str, path: Path) -> bool:
    """Whether a path cannot be meant as the name of a run."""
    return given.startswith(".") or path.is_absolute() or path.parts[:1] == (EXPERIMENTS.name,) or ".." in path.parts


def _holds_runs(path: Path) -> bool:
    """Whether a path names a run, a sweep or a folder of runs."""
    if is_folder(path):
        with suppress(OSError):  # a folder that cannot be read holds no runs
            folders = [path, *(entry for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))]
            return any(is_there(folder / mark) for folder in folders for mark in MARKS)
    return False


def _named(name: str) -> list[Path]:
    """Return the folders in experiments/ whose name is this one, with or without its time, or the latest."""
    if name == LATEST:
        return [folder for folder in [without_link(EXPERIMENTS / LATEST)] if is_there(folder)]
    return [folder for folder in _folders() if name in _names(folder)]


def _inside(folders: list[Path], parts: Sequence[str]) -> list[str]:
    """Return the existing paths of a file or folder, given by its parts, in some folders."""
    return [str(inside) for folder in folders if is_there(inside := folder.joinpath(*parts))]


def note(text: str) -> None:
    """Print a line on stderr, from one process only."""
    if torchrun.local_rank() == 0:
        print(text, file=sys.stderr)


def _folders() -> list[Path]:
    """Return the folders in experiments/, those without a time first, and then the oldest."""
    if not EXPERIMENTS.is_dir():
        return []
    entries = [entry for entry in EXPERIMENTS.iterdir() if not is_hidden(entry.name)]
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    return sorted(folders, key=lambda folder: (STAMP.match(folder.name) is not None, folder.name))


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep, which holds its record or a first job."""
    has_job = is_folder(folder / "0" / "checkpoints")
    return not is_folder(folder / "checkpoints") and (has_job or is_there(folder / SWEEP_RECORD))


def refuse_sweep(folder: Path) -> None:
    """Raise UserError if a folder is that of a sweep, where a run is needed; name a run in it."""
    if is_sweep(folder):
        run = min(folder.glob("*/checkpoints"), default=folder / "0" / "checkpoints").parent
        raise UserError(f"{folder}: the folder of a sweep; name one of its runs, as in {run}")


def never_started(folder: Path) -> bool:
    """Whether Hydra made this folder for a run that was killed before it wrote anything itself."""
    return is_folder(folder / ".hydra") and not any(is_there(folder / mark) for mark in MARKS if mark != ".hydra")


def _names(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder in experiments/: with and without its time, and without `_sweep`."""
    name = _without_stamp(folder.name)
    return folder.name, name, name.removesuffix(OF_SWEEP)


def _without_stamp(name: str) -> str:
    return STAMP.sub("", name, count=1)


def _nothing_found(given: str, key: str, name: str) -> str:
    """Return a message that a run does not exist, with similar names and the newest runs."""
    takes_files, network = key in TAKES_FILES, Path(given).name.removesuffix(".pt")
    what = "run or file" if takes_files else "run"
    if given.startswith("[") and given.endswith("]"):
        return f"{key}={given}: must be one {what}, not a list"
    is_network = network in bundled_names()
    if is_network and not takes_files:
        return (
            f"{key}={given}: {network} is a network of weights/, not a run; pass it as checkpoint= to infer.py and"
            f" evaluate.py, or start a training from it with model.weights={network}"
        )
    started = [folder for folder in reversed(_folders()) if not never_started(folder)]
    newest = list(dict.fromkeys(_without_stamp(folder.name) for folder in started))
    known = [*newest, *(bundled_names() if takes_files else ())]
    alike = [other for other in known if len(name) > 2 and name.lower() in other.lower()]
    alike = [network] if is_network else alike + get_close_matches(name, known)
    hint = " or ".join(f"'{other}'" for other in dict.fromkeys(alike[:LISTED]))
    message = f"{key}={given}: there is no such {what}"
    if "," in given and key in ("checkpoint", "runs"):
        hint = f"{key}=[{given}]"
    message += f"; did you mean {hint}?" if hint else ""
    runs = f"the newest runs are {', '.join(newest[:LISTED])}" if newest else f"{EXPERIMENTS} has no runs yet"
    return f"{message}\n{runs}" + (f"; weights/ has {', '.join(bundled_names())}" if takes_files else "")


def without_link(path: Path) -> Path:
    """Return the path of the folder that `experiments/latest`, at the beginning of a path, stands for."""
    link = EXPERIMENTS / LATEST
    if path != link and link not in path.parents:
        return path
    with suppress(OSError):
        name = str(link.readlink()) if link.is_symlink() else link.read_text(encoding="utf-8").strip()
        if name and Path(name).name == name:
            return EXPERIMENTS / name / path.relative_to(link)
    return path


def mark_latest(folder: Path) -> None:
    """Let `experiments/latest` name a folder in experiments/. Never fails a run.

    The link is replaced at once, so that it always names a folder however many processes set it.
    """
    link = folder.parent / LATEST
    if folder.parent.name != EXPERIMENTS.name or folder.name == LATEST or (link.is_dir() and not link.is_symlink()):
        return
    temporary = folder.parent / f".{LATEST}.{os.getpid()}"
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(folder.name, target_is_directory=True)
        except (OSError, NotImplementedError):  # such as on Windows
            temporary.write_text(f"{folder.name}\n", encoding="utf-8")
        temporary.replace(link)
