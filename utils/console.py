"""Messages on the console, around progress bars."""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm

from utils.text import cleaned


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
