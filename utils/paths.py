"""Paths from users, and the files and folders there."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from pathlib import Path

from utils.errors import Unreadable, UserError

SYSTEM_FOLDERS = frozenset(
    {
        *("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot"),
        *("$recycle.bin", "system volume information", "lost+found"),
    }
)
"""Folders that systems add to the files of users, in lower case: macOS archives, network storage, Windows."""

SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LFS = b"version https://git-lfs."
"""What the pointers begin with that Git leaves in place of large files where Git LFS is not installed."""


def user_path(given: str | Path, key: str = "") -> Path:
    """Expand `~` and `~name` in a path from a user. Nothing has to exist at the path.

    Args:
        given: the path.
        key: the config key of the path, for messages.

    Raises:
        UserError: it cannot be accessed (no such user, a name too long, no permission, a NUL byte), or is neither a
            file nor a folder.
    """
    text = str(given)
    name = f"{key}={_shortened(text)}" if key else _shortened(text)
    path = os.path.expanduser(text)  # noqa: PTH111 - Path's raises RuntimeError for an unknown user
    if text.startswith("~") and path == text and not os.path.lexists(text):
        user = text.replace(os.sep, "/").partition("/")[0]
        raise UserError(f"{name}: there is no home folder {user}; for a name that begins with ~, pass ./~name")
    mode = _mode(path, name)
    if mode is not None and stat.S_ISDIR(mode):
        _mode(os.path.join(path, "."), name)  # noqa: PTH118 - Path drops the dot, which needs permission to enter
    return Path(path)


def png_path(given: str | Path, key: str) -> Path:
    """Return the path of a PNG to write.

    Raises:
        UserError: as for `user_path`, and for another suffix or a folder.
    """
    path = user_path(given, key)
    if path.suffix.lower() != ".png" or is_folder(path):
        raise UserError(f"{key}={given}: must be a .png file")
    return path


def is_onnx(path: str | Path) -> bool:
    """Whether a path names an ONNX file."""
    return Path(path).suffix == ".onnx"


def is_file(path: str | Path) -> bool:
    """Whether a path is a file. Raises the same errors as `user_path`."""
    mode = _mode(path, _shortened(str(path)))
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: str | Path) -> bool:
    """Whether a path is a folder. Raises the same errors as `user_path`."""
    mode = _mode(path, _shortened(str(path)))
    return mode is not None and stat.S_ISDIR(mode)


def is_there(path: str | Path) -> bool:
    """Whether a path is a file or folder. Raises the same errors as `user_path`."""
    return _mode(path, _shortened(str(path))) is not None


def refuse_special(path: str | Path) -> int:
    """Return the mode of a file or folder; refuse named pipes, sockets and devices, because opening them may block.

    Raises:
        OSError: it is one, or cannot be accessed; `strerror` is the reason.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path is too slow for 100,000 files
    except ValueError as error:
        raise OSError(errno.EINVAL, f"not a path ({error})", str(path)) from error
    special = SPECIAL.get(stat.S_IFMT(mode))
    if special:
        raise OSError(errno.EINVAL, f"it is {special}, not a file", str(path))
    return mode


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        Unreadable: it is missing, special or cannot be accessed, or a pointer of Git LFS.
    """
    try:
        refuse_special(path)
        content = Path(path).read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read ({error.strerror})") from error
    if content.startswith(LFS):
        raise Unreadable(f"{path}: a pointer of Git LFS, not the file itself; fetch the files with git lfs pull")
    return content


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a folder that systems add."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def files_below(folder: str | Path) -> list[str]:
    """Return the paths of all files in a folder and its subfolders, relative to it, with `/`, sorted.

    Hidden files and folders and `SYSTEM_FOLDERS` are skipped. Links are followed. Each real folder is visited once, by
    its own path before links to it, so that cyclic links end.

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
                if not _leads_to_folder(entry):
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


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one. A link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _mode(path: str | Path, name: str) -> int | None:
    """Return the mode of a file or folder; None if there is nothing."""
    try:
        return refuse_special(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "; use a shorter one" if error.errno == errno.ENAMETOOLONG else ""
        raise UserError(f"{name}: {error.strerror}{hint}") from error


def _shortened(text: str) -> str:
    """Return a path for a message: printable and short."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}"
