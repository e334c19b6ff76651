"""Download and unpack large archives.

A file or folder is there whole or not at all: a download in progress is `<file>.part`, and archives are unpacked in a
temporary folder.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from torchvision.datasets.utils import calculate_md5
from tqdm import tqdm

from utils.errors import UserError
from utils.files import make_folder

try:
    import fcntl
except ImportError:  # Windows, where two processes must not download at the same time
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Consecutive attempts without a new byte, after which the download is given up."""
PAUSE = 3.0
"""Seconds between two attempts."""
TIMEOUT = 60.0
"""Seconds that a server may be silent."""


def fetch_archive(url: str, md5: str, folder: Path, is_there: Callable[[], bool]) -> None:
    """Download an archive into a folder, unpack it there and delete it, unless its content is there already.

    Of several processes that call this at once, one does it, and the others wait.

    Args:
        is_there: whether its content is in the folder.

    Raises:
        UserError: as for `download` and `extract`.
    """
    if is_there():
        return
    archive = folder / url.rpartition("/")[2]
    make_folder(folder)
    with _locked(folder):
        if not is_there():
            download(url, archive, md5)
            extract(archive, folder)
            archive.unlink()


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
            if (found := calculate_md5(file)) != md5:
                raise UserError(f"{file}: not the file at {url} (its md5 is {found}, not {md5}); delete it")
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        _fetch_persistently(url, part, file)
        if (found := calculate_md5(part)) != md5:
            part.unlink()
            raise UserError(
                f"{url}: the download is damaged (its md5 is {found}, not {md5}) and was deleted;"
                f" try again, or put the right file at {file}"
            )
        part.replace(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read or written ({error.strerror or error})") from error


def extract(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder, completely or not at all.

    Existing folders keep their other files; existing files are replaced.

    Raises:
        UserError: the folder cannot be written.
    """
    log.info("extracting %s", archive)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".extracting-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        # Inside the folder, which may be another disk: moving must not become copying.
        with TemporaryDirectory(prefix=".extracting-", dir=folder) as temporary:
            shutil.unpack_archive(archive, temporary)
            _merge(Path(temporary), folder)
    except OSError as error:
        raise UserError(f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder; other processes wait for the lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch_persistently(url: str, part: Path, file: Path) -> None:
    """Download until the file is complete, or `ATTEMPTS` consecutive attempts bring nothing new."""
    furthest, failures = _size(part), 0
    while True:
        try:
            return _fetch(url, part, file)
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            size = _size(part)
            # Compared with the most so far: a server without Range starts from 0 each time, perhaps forever.
            failures = 0 if size > furthest else failures + 1
            furthest = max(furthest, size)
            reason = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
            if isinstance(error, HTTPError) and error.code < 500 and error.code != 429:  # permanent
                raise UserError(f"{url} cannot be downloaded ({reason}); put the file at {file} by hand") from error
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url} cannot be downloaded ({reason}); {_bytes(size)} were downloaded, and the same"
                    f" command continues from there; or put the file at {file} by hand"
                ) from error
            log.warning("%s: %s; trying again from %s on", file.name, reason, _bytes(size))
        time.sleep(PAUSE)


def _fetch(url: str, part: Path, file: Path) -> None:
    """Download the rest of `part`; start again if the server does not support Range."""
    start = _size(part)
    try:
        response = urlopen(Request(url, headers={"Range": f"bytes={start}-"} if start else {}), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if start and error.code == 416:  # `part` is complete, or something else, which its hash will show
            return
        raise
    with response:
        free = shutil.disk_usage(part.parent).free
        if response.status != 206:  # the whole file: `part` will be overwritten
            free, start = free + start, 0
        needed = response.length
        if needed is not None and needed > free:
            raise UserError(
                f"{file}: needs {_bytes(needed)} more on its disk, and {_bytes(free)} are free; make room and run the"
                " same command again"
            )
        total = None if needed is None else start + needed
        bar = tqdm(None, file.name, total, unit="B", unit_scale=True, initial=start, leave=False, delay=1, disable=None)
        with bar, part.open("ab" if start else "wb") as out:
            # `read` would wait for all of a chunk, and lose what it has if the connection breaks.
            while chunk := response.read1(1 << 18):
                out.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) < total:
        raise ConnectionError("the connection broke off")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bytes(size: int) -> str:
    return tqdm.format_sizeof(size, "B")


def _merge(source: Path, target: Path) -> None:
    """Move the content of a folder into another, parts of which may be on other disks."""
    shutil.copytree(source, target, symlinks=True, copy_function=shutil.move, dirs_exist_ok=True)
