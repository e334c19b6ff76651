"""Console output that never fails a run."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from tqdm import tqdm

from utils.text import cleaned


class BestEffort:
    """A text stream that drops what cannot be written, instead of raising.

    Attributes:
        lost: the last error, or None.
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
            try:  # the interpreter flushes the buffer when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            except (OSError, ValueError):
                return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare() -> None:
    """Make stdout and stderr streams that never fail, even if closed, full, without a reader, or not in UTF-8."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next open file would get its number, and the console's output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, BestEffort):
            continue
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - never closed
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, BestEffort(stream))


def output_error() -> str | None:
    """Return why printed text was lost; None if none was, or if the reader has closed the pipe."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "lost", None)
    return error.strerror if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) else None


class CleanFormatter(logging.Formatter):
    """Escape control characters: messages hold names from files and checkpoints that others made."""

    def format(self, record: logging.LogRecord) -> str:
        return cleaned(super().format(record))


class ConsoleHandler(logging.Handler):
    """Write records to stderr without breaking progress bars. Warnings and errors begin with their level.

    A terminal gets the attribute `for_terminal` of a record, if it has one, in place of its message.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            instead = getattr(record, "for_terminal", None) if sys.stderr.isatty() else None
            text = self.format(record) if instead is None else cleaned(instead)
            tqdm.write(prefix + text, file=sys.stderr)
        except Exception:
            self.handleError(record)


class LogFile(logging.FileHandler):
    """A log file in UTF-8. A full disk neither fails the run nor prints a traceback per line."""

    def __init__(self, filename: str, delay: bool = False) -> None:
        super().__init__(filename, encoding="utf-8", delay=delay, errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
