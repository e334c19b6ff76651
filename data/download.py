"""Download and unpack large archives.

A file or folder is there whole or not at all: a download in progress is `<file>.part`, and archives are unpacked in a
temporary folder.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import ssl
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where two processes had better not download at once
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Attempts in a row that bring nothing new, before it gives up."""
PAUSE = 3.0
"""Seconds between two attempts."""
TIMEOUT = 60.0
"""Seconds for which a server may be silent."""

_BROKEN = (URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def download(url: str, file: Path, md5: str) -> None:
    """Download a URL to a file, continuing where an earlier attempt or process stopped.

    Args:
        file: not downloaded if it exists; its hash is checked all the same.
        md5: of the whole file, in lower-case hexadecimal digits.

    Raises:
        UserError: it cannot be downloaded, there is no room for it, or it has another hash.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        if file.exists():
            if (found := _md5(file)) != md5:
                raise UserError(f"{file}: not the file at {url} (its md5 is {found}, not {md5}); delete it")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        _fetch_persistently(url, part, file)
        if (found := _md5(part)) != md5:
            part.unlink()
            raise UserError(
                f"{url}: what came is damaged (its md5 is {found}, not {md5}) and was deleted;"
                f" try again, or put the right file at {file}"
            )
        part.replace(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read or written ({error.strerror or error})") from error


def extract(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tgz, .tar.gz or .zip into a folder, all or nothing of it.

    Folders that exist keep what else is in them; files that exist are replaced.

    Raises:
        UserError: the archive is damaged or would write outside the folder, or the folder cannot be written.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("unpacking safely takes Python 3.10.12, 3.11.4 or a later one")
    log.info("extracting %s", archive)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".extracting-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        # Inside the folder, which may be another disk: moving must not become copying.
        with TemporaryDirectory(prefix=".extracting-", dir=folder) as temporary:
            if archive.suffix == ".zip":
                shutil.unpack_archive(archive, temporary)
            else:
                with tarfile.open(archive) as tar:
                    tar.extractall(temporary, filter="data")
                    _check_end(tar)
            _merge(Path(temporary), folder)
    except Exception as error:  # what damaged bytes raise is not documented, and much
        if isinstance(error, OSError) and error.errno:  # the system's own, not one that is about the content
            raise UserError(f"{archive}: cannot be unpacked into {folder} ({error.strerror})") from error
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{archive}: a damaged archive ({reason}); delete it and try again") from error


def fetch_archive(url: str, md5: str, folder: Path, is_there: Callable[[], bool]) -> None:
    """Download an archive into a folder, unpack it there and delete it, unless its content is there already.

    Of several processes that call this at once, one does it, and the others wait.

    Args:
        is_there: whether its content is in the folder.

    Raises:
        UserError: as `download` and `extract`.
    """
    if is_there():
        return
    archive = folder / url.rpartition("/")[2]
    with _alone_in(folder):
        if not is_there():
            download(url, archive, md5)
            extract(archive, folder)
            archive.unlink()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of this folder, and hold it. It ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
    try:
        if fcntl is not None:
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _fetch_persistently(url: str, part: Path, file: Path) -> None:
    """Download until all is there, or `ATTEMPTS` attempts in a row bring nothing new."""
    furthest, vain = _size(part), 0
    while True:
        try:
            return _fetch(url, part, file)
        except _BROKEN as error:
            there = _size(part)
            # Compared with the furthest: a server without Range starts again each time, perhaps forever.
            vain = 0 if there > furthest else vain + 1
            furthest = max(furthest, there)
            reason = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
            if isinstance(error, HTTPError) and error.code < 500 and error.code != 429:  # it will not change its mind
                raise UserError(f"{url} cannot be downloaded ({reason}); put the file at {file} by hand") from error
            if vain >= ATTEMPTS:
                raise UserError(
                    f"{url} cannot be downloaded ({reason}); {_in_words(there)} of it are here, and the same"
                    f" command continues from there; or put the file at {file} by hand"
                ) from error
            log.warning("%s: %s; trying again from %s on", file.name, reason, _in_words(there))
        time.sleep(PAUSE)


def _fetch(url: str, part: Path, file: Path) -> None:
    """Add to `part` what it lacks; start again if the server does not support Range."""
    there = _size(part)
    try:
        response = urlopen(Request(url, headers={"Range": f"bytes={there}-"} if there else {}), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if there and error.code == 416:  # nothing is lacking, or `part` is something else: its hash will tell
            return
        raise
    with response:
        start = 0
        if response.status == 206:
            given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            start = int(given[1]) if given else -1
        if start not in (0, there):
            part.unlink(missing_ok=True)
            raise ConnectionError(f"the server was asked for bytes from {there} on and gave others")
        total = None if response.length is None else start + response.length
        free = shutil.disk_usage(part.parent).free + there - start  # what is downloaded again makes room first
        if total is not None and total - start > free:
            raise _no_room(file, total - start, free)
        name = file.name
        bar = tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, leave=False, delay=1, disable=None)
        try:
            with bar, part.open("ab" if start else "wb") as out:
                # `read` would wait for all of a chunk, and lose what it has if the connection breaks.
                while chunk := response.read1(1 << 18):
                    out.write(chunk)
                    bar.update(len(chunk))
        except OSError as error:
            if error.errno not in _FULL or total is None:
                raise
            raise _no_room(file, total - _size(part), shutil.disk_usage(part.parent).free) from error
    if total is not None and _size(part) < total:
        raise ConnectionError("the connection broke off")


def _no_room(file: Path, needed: int, free: int) -> UserError:
    return UserError(
        f"{file}: needs {_in_words(needed)} more on its disk, and {_in_words(free)} are free; make room and run the"
        " same command again"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _in_words(size: int) -> str:
    return tqdm.format_sizeof(size, "B")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise an error if files are missing: `tarfile` takes a damaged header for the end."""
    content = tar.fileobj
    assert content is not None
    content.seek(tar.offset + 512)  # where it is by now; the first of the blocks of zeros at the end is read
    block = content.read(512)
    if len(block) < 512 or any(block):
        raise tarfile.ReadError("it breaks off amid its files")
    while content.read(1 << 20):  # up to the checksum at the end of a .gz
        pass


def _merge(source: Path, target: Path) -> None:
    """Move what is in one folder into another, parts of which may be on other disks."""
    for entry in list(source.iterdir()):
        goal = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and goal.is_dir():
            _merge(entry, goal)
        else:
            shutil.move(entry, goal)
