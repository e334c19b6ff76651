"""Places to write to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from utils.errors import UserError


def make_writable(folder: Path) -> None:
    """Makes a folder, and sees whether something can be written there before it has taken hours to compute.

    Raises:
        UserError: nothing can.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: nothing can be written there ({error.strerror})") from error
