"""The console: what is written to it is best effort, and never fails a run."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from tqdm import tqdm

from utils.text import cleaned


class BestEffort:
    """A text stream whose writing never fails; what cannot be written is dropped, and all that follows.

    Attributes:
        lost: why something was dropped, or None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: closed
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        self.lost = error
        if isinstance(error, OSError) and not isinstance(error, BlockingIOError):
            try:  # what is left in the buffer goes there, at the interpreter's end at the latest
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            except (OSError, ValueError):
                return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare() -> None:
    """Make stdout and stderr streams that never fail: closed, full, without a reader, or of a small encoding."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get its number, and what is meant for the console
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, BestEffort):
            continue
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, BestEffort(stream))


def output_error() -> str | None:
    """Why something that was printed did not arrive; None if all did, or nobody reads on."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "lost", None)
    return error.strerror if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) else None


class CleanFormatter(logging.Formatter):
    """Spells what a terminal would act on: messages hold names from files and checkpoints of others."""

    def format(self, record: logging.LogRecord) -> str:
        return cleaned(super().format(record))


class ConsoleHandler(logging.Handler):
    """Writes records to stderr without tearing progress bars; warnings and errors say that they are."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            tqdm.write(prefix + self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


class LogFile(logging.FileHandler):
    """A log in UTF-8; a full disk is no reason to end, or to print a traceback for each line."""

    def __init__(self, filename: str, delay: bool = False) -> None:
        super().__init__(filename, encoding="utf-8", delay=delay, errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
