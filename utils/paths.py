"""Paths that users name, and the files and folders at them."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from pathlib import Path

from utils.errors import UserError

SYSTEM_FOLDERS = frozenset(
    {
        *("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot"),
        *("$recycle.bin", "system volume information", "lost+found"),
    }
)
"""Folders, in lower case, that systems put among the files of users: archives of macOS, network storage, Windows."""

SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def user_path(given: str | Path, key: str = "") -> Path:
    """Resolve a path as a user types it; `~` and `~name` stand for home folders.

    There need not be anything at the path yet.

    Args:
        given: the path.
        key: the option that it was given to, for messages.

    Raises:
        UserError: it cannot be looked at (no such user, a name too long, no permission, a NUL byte), or what is there
            is neither a file nor a folder.
    """
    text = str(given)
    said = f"{key}={_shortened(text)}" if key else _shortened(text)
    path = os.path.expanduser(text)  # noqa: PTH111 - Path's raises RuntimeError for an unknown user
    if text.startswith("~") and path == text and not os.path.lexists(text):
        user = text.replace(os.sep, "/").partition("/")[0]
        raise UserError(f"{said}: there is no home folder {user}; a name that begins with ~ is written ./~name")
    mode = _mode(path, said)
    if mode is not None and stat.S_ISDIR(mode):
        _mode(os.path.join(path, "."), said)  # noqa: PTH118 - Path drops the dot, which asks for permission to enter
    return Path(path)


def is_file(path: str | Path) -> bool:
    """Whether there is a file; errors as `user_path`."""
    mode = _mode(path, _shortened(str(path)))
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; errors as `user_path`."""
    mode = _mode(path, _shortened(str(path)))
    return mode is not None and stat.S_ISDIR(mode)


def is_there(path: str | Path) -> bool:
    """Whether there is a file or folder; errors as `user_path`."""
    return _mode(path, _shortened(str(path))) is not None


def refuse_special(path: str | Path) -> None:
    """Refuse named pipes, sockets and devices, which would be waited for; call it before opening a file.

    Raises:
        OSError: it is one, or cannot be looked at; `strerror` says why.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of 100,000 files, Path takes longer than the system
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    special = SPECIAL.get(stat.S_IFMT(mode))
    if special:
        raise OSError(errno.EINVAL, f"it is {special}, not a file", str(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file; errors as `refuse_special`."""
    refuse_special(path)
    return Path(path).read_bytes()


def files_below(folder: str | Path) -> list[str]:
    """Paths of all files in a folder and the folders below it, relative to it, with `/`, in order.

    Hidden files and folders and those of `SYSTEM_FOLDERS` are left out. Links are followed. Each real folder is visited
    once, by its own path rather than by a link, so that links which lead back to where they are come to an end.

    Raises:
        UserError: a folder cannot be read.
    """
    files: list[str] = []
    folders, links = deque([("", os.path.realpath(folder))]), deque[tuple[str, str]]()
    visited: set[str] = set()
    while folders or links:
        below, place = (folders or links).popleft()
        if place in visited:
            continue
        visited.add(place)
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    files.append(below + entry.name)
                elif entry.name.lower() not in SYSTEM_FOLDERS:
                    inside = f"{below}{entry.name}/"
                    if entry.is_symlink():
                        links.append((inside, os.path.realpath(entry.path)))
                    else:
                        folders.append((inside, entry.path))
        except OSError as error:
            raise UserError(f"{Path(folder, below)}: the folder cannot be read ({error.strerror})") from error
    return sorted(files)


def _mode(path: str | Path, said: str) -> int | None:
    """The mode of a file or folder, None where there is nothing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "; use a shorter one" if error.errno == errno.ENAMETOOLONG else ""
        raise UserError(f"{said}: {error.strerror}{hint}") from error
    except ValueError as error:
        raise UserError(f"{said}: not a path ({error})") from error
    special = SPECIAL.get(stat.S_IFMT(mode))
    if special:
        raise UserError(f"{said}: it is {special}; give a file or a folder")
    return mode


def _shortened(text: str) -> str:
    """A path for a message, which a terminal can show."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"
