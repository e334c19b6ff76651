"""Write files safely: atomically, in folders that are checked early and locked."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from utils import torchrun
from utils.config_values import mapped
from utils.errors import Occupied, UserError
from utils.paths import is_there

_made: list[Path] = []  # by `make_writable`, still empty


def make_writable(folder: Path) -> None:
    """Make a folder and check that files can be written there, before the hours that compute them.

    Raises:
        UserError: no file can be written there.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        _made.extend(path.absolute() for path in reversed(missing))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: nothing can be written there ({error.strerror})") from error


def prepare_output(path: Path, overwrite: bool) -> None:
    """Check that a file can be written and, unless `overwrite`, that it does not exist. Makes its folder.

    Raises:
        UserError: it cannot, or it exists.
    """
    if is_there(path) and not overwrite:
        raise UserError(f"{path} exists already; overwrite=true replaces it, output= writes elsewhere")
    make_writable(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, unless they exist.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be made ({error.strerror})") from error


def remove_empty_folders() -> None:
    """Remove the folders that `make_writable` made and that are still empty, as after a failure."""
    while _made:
        with suppress(OSError):
            _made.pop().rmdir()


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write, and rename it to `path` when all of it is on disk. Readers never see half a file.

    Raises:
        UserError: as for `atomic_path`.
    """
    # By rank, so that a process that was killed leaves no file that the next one does not replace.
    with atomic_path(path, torchrun.rank()) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_path(path: Path, number: int | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename its file to `path` when it is complete.

    Unlike `atomic_write` it does not wait for the disk, so that a power failure may lose the file.

    Args:
        number: part of the temporary name; None is the id of this process.

    Raises:
        UserError: the disk is full, the folder is gone ...; a file that was at `path` is kept.
    """
    temporary = _temporary(path, os.getpid() if number is None else number)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if not path.parent.is_dir():
            raise UserError(f"{path.parent} is gone: it was moved or deleted while it was being written to") from error
        kept = "; the one before is kept" if path.exists() else ""
        raise UserError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically. Raises the same errors as `atomic_write`.

    Bytes of a path that are not UTF-8 become escapes, which JSON reads back.
    """
    with atomic_write(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file atomically, as `json_text`."""
    write_text(path, json_text(values))


def json_text(values: dict[str, Any]) -> str:
    """Return values as indented JSON. NaN and infinite numbers become null."""
    return json.dumps(without_nan(values), indent=2, ensure_ascii=False) + "\n"


def without_nan(value: Any) -> Any:
    """Copy nested dictionaries, lists and tuples with None in place of NaN and infinite numbers."""
    return mapped(value, lambda v: None if isinstance(v, float) and not math.isfinite(v) else v)


def _temporary(path: Path, number: int) -> Path:
    """Return the path of a hidden file beside `path`. Its name is not too long if that of `path` is not."""
    name = path.name
    if len(os.fsencode(name)) > 200:
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return path.with_name(f".{name}.{number}.tmp")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, until it ends in whatever way. Without effect on file systems without locks.

    Raises:
        Occupied: another process has locked it.
    """
    with ExitStack() as stack:
        try:
            # Not flock: the workers that this process forks would keep its lock.
            file = stack.enter_context((folder / ".lock").open("a+"))
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN) and fcntl is not None and (folder / ".lock").exists():
                raise Occupied(f"{folder}: another process is training in it; wait for it, or stop it") from error
        yield
