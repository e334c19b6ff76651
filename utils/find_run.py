"""Find run folders by name, and keep `experiments/latest`."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from utils.bundled_weights import bundled_names
from utils.errors import UserError
from utils.paths import is_there, user_path

EXPERIMENTS = Path("experiments")
LATEST = "latest"
"""Name of the link to the run or sweep that was started last. Where links cannot be made, a file with its name."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}_")
LISTED = 4
"""Folders that a message lists at most."""


def find_run(given: str, key: str) -> str:
    """Return the path of a run or sweep from its path, name, or the beginning of its name.

    The name of a folder in experiments/ counts with and without its time: `dice` is `2026-11-28_13-35-49-000000_dice`.
    More parts, such as the number of a job, may follow. Anything else is returned unchanged, and so is the name of a
    network in `weights/`: for a run that is called so, pass its folder or more of its name.

    Args:
        given: as typed.
        key: the key that it was typed for, for messages.

    Raises:
        UserError: several folders match.
    """
    path = user_path(given, key)
    if is_there(path) or path.is_absolute():
        return given if path.is_absolute() else str(without_link(path))
    parts = path.parts[1:] if path.parts[:1] == (EXPERIMENTS.name,) else path.parts
    if not parts or ".." in parts or not EXPERIMENTS.is_dir() or given in bundled_names():
        return given
    if parts[0] == LATEST:
        found = [without_link(EXPERIMENTS / LATEST)]
    else:
        folders = [entry for entry in sorted(EXPERIMENTS.iterdir()) if entry.is_dir() and not entry.is_symlink()]
        names = {folder: (folder.name, STAMP.sub("", folder.name, count=1)) for folder in folders}
        found = [folder for folder in folders if parts[0] in names[folder]]
        if not found:
            found = [folder for folder in folders if any(name.startswith(parts[0]) for name in names[folder])]
    found = [folder.joinpath(*parts[1:]) for folder in found if is_there(folder.joinpath(*parts[1:]))]
    if len(found) > 1:
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        listed = ", ".join(map(str, found[-LISTED:]))
        raise UserError(f"{key}={given}: {len(found)} folders match: {listed}{more}; pass more of the name")
    return str(found[0]) if found else given


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
