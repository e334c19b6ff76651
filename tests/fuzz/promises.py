"""Check what every command promises for any input."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.in_process import run_here

SECONDS, WALL_SECONDS = 30, 300
"""Limits on a command: of processor time, and of waiting on a busy machine."""
MEMORY = 6 * 2**30
"""Bytes that a command may take besides what the process has."""
LINES, LENGTH = 8, 3000
"""Limits of a message."""


class TooLong(BaseException):
    """A command took more than `SECONDS` of processor time, or waited for `WALL_SECONDS`."""


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def broken_promise(
    task: Callable, config_name: str, words: list[str], cwd: Path, *, may_find: bool = False
) -> str | None:
    """Run a command and return which promise it broke; None if it kept all.

    Args:
        cwd: the folder it runs in, which holds all that it is given.
        may_find: whether exit code 1 is due where some of many files cannot be read.
    """
    before = digests(cwd)
    try:
        with _limits():
            done = run_here(task, config_name, *words, cwd=cwd)
    except TooLong:
        return f"took more than {SECONDS} s, or waited for {WALL_SECONDS} s"
    except BaseException as error:
        return f"{type(error).__name__} came out: {error}"
    return _judged(done, before, cwd, may_find)


def _judged(done: subprocess.CompletedProcess, before: dict[str, str], cwd: Path, may_find: bool) -> str | None:
    said = [line for line in done.stderr.splitlines() if line.strip() and "img" not in line]
    if "Traceback" in done.stderr + done.stdout:
        return f"a traceback:\n{done.stderr[-3000:]}"
    if done.returncode not in ((0, 1, 2) if may_find else (0, 2)):
        return f"exit code {done.returncode}:\n{done.stderr[-3000:]}"
    odd = {c for c in done.stderr + done.stdout if not c.isprintable() and c not in "\n\r"}
    if odd:
        return f"characters that a terminal acts on: {odd}"
    if done.returncode == 2:
        if not any(line.startswith("error: ") for line in said):
            return f"no message:\n{done.stderr}"
        if len(said) > LINES or len(done.stderr) > LENGTH:
            return f"a message of {len(said)} lines and {len(done.stderr)} characters:\n{done.stderr[:2000]}"
        after = digests(cwd)
        changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
        if changed:
            return f"refused, but changed {changed[:5]}:\n{done.stderr}"
    return None


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Keep a command from taking all time and memory."""

    def stop(*_: object) -> None:
        raise TooLong

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
