"""Find the photos in folders, patterns and lists."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from data.images import IMAGE_SUFFIXES, package_for
from data.pairs import read_list
from utils.errors import UserError
from utils.paths import SYSTEM_FOLDERS, files_below, is_folder
from utils.text import plural, shown

log = logging.getLogger(__name__)

QUOTED = re.compile(r"""^(['"])(.+)\1$""")


def found_below(folder: Path, output: Path | None = None, key: str = "input") -> list[Path]:
    """Return the images in a folder, searched recursively, except those in `output` and below it.

    Args:
        output: folder to write to, which may hold the results of an earlier run; ignored if the folder itself is in it.
        key: the option that named the folder, for messages.

    Raises:
        UserError: there are none.
    """
    files = [folder / name for name in files_below(folder)]
    if output is not None and not folder.resolve().is_relative_to(output.resolve()):
        written = output.resolve()
        theirs = {place for place in {path.parent for path in files} if place.resolve().is_relative_to(written)}
        files = [path for path in files if path.parent not in theirs]
    images = only_images(files)
    if not images:
        raise UserError(f"{key}={folder}: there are no images in this folder{described(files, '; it contains ')}")
    return images


def only_images(files: Sequence[Path]) -> list[Path]:
    """Return the files with the suffix of an image; log what is skipped, if there are images."""
    images = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    others = described([path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES])
    if images and others:
        log.info("skipped %s", others)
    return images


def described(files: Sequence[Path], before: str = "") -> str:
    """Return '3 other files: 2 .txt (such as a.txt), 1 .pdf (b.pdf)'; '' for none."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(files):
        kinds.setdefault(path.suffix.lower() or "without suffix", []).append(path)
    parts = []
    for kind, paths in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        needed = package_for(kind)
        reader = f"; {needed}" if needed else ""
        parts.append(f"{len(paths)} {kind} ({'such as ' if len(paths) > 1 else ''}{paths[0].name}{reader})")
    more = [f"{len(parts) - 8} more kinds"] if len(parts) > 9 else []
    total = plural(len(files), "other file")
    return f"{before}{total}: {', '.join([*(parts[:8] if more else parts), *more])}" if files else ""


def matches_of(pattern: Path) -> list[Path]:
    """Return the files that match a pattern; `**` matches any folders that `utils.paths.files_below` visits.

    A folder whose name looks like a pattern, such as `photos [1]`, stands for itself.
    """
    fixed = 0
    while fixed < len(pattern.parts) and (
        not glob.has_magic(pattern.parts[fixed]) or is_folder(Path(*pattern.parts[: fixed + 1]))
    ):
        fixed += 1
    base, parts = Path(*pattern.parts[:fixed]), pattern.parts[fixed:]
    if "**" in parts:
        found = files_below(base) if is_folder(base) else []
        return [base / name for name in found if _matches(name.split("/"), parts)]
    once: dict[tuple[Path, str], Path] = {}
    names = glob.glob(os.path.join(glob.escape(str(base)), *parts))  # noqa: PTH118, PTH207 - may be absolute
    for path in sorted(map(Path, names)):
        inside = path.parts[fixed:-1]
        if not path.is_dir() and not any(part.lower() in SYSTEM_FOLDERS for part in inside):
            once.setdefault((path.parent.resolve(), path.name), path)
    return list(once.values())


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_matches(names[i:], pattern[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def listed_in(file: Path) -> list[Path]:
    """Return the paths in a list, one per line, without duplicates.

    A path is relative to the list's folder, or else to the working directory. It may be in quotes, or have backslashes
    as on Windows. A line that begins with `#` is a comment, unless there is a file of this name.

    Raises:
        UserError: the list is empty, or none of the files exists.
    """
    found = {line: _path_of(line, file.parent) for line in read_list(file, "surrogateescape")}
    found = {line: path for line, path in found.items() if path or not line.startswith("#")}
    if not found:
        raise UserError(f"input={file}: the list is empty; it must contain one path per line")
    if not any(path and os.path.isfile(path) for path in found.values()):  # noqa: PTH113 - never raises
        raise UserError(
            f"input={file}: a .txt is read as a list, one path per line, and none of its"
            f" {plural(len(found), 'line')} is the path of a file, such as {shown(next(iter(found)))}"
        )
    once: dict[str, Path] = {}
    for line, path in found.items():
        once.setdefault(os.path.realpath(path) if path else line, Path(path or file.parent / line))
    return list(once.values())


def _path_of(line: str, folder: Path) -> str | None:
    """Return the path of what a line of a list names, as it is, without quotes, or with slashes for backslashes."""
    plain = QUOTED.sub(r"\2", line)
    for name in dict.fromkeys((line, plain, plain.replace("\\", "/"))):
        # os.path, because Path raises for lines that are too long for a file name.
        for path in (os.path.join(folder, name), name):  # noqa: PTH118
            if os.path.exists(path):  # noqa: PTH110
                return path
    return None
