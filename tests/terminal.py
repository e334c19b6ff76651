"""Read what a command shows in a terminal."""

from __future__ import annotations

import contextlib
import os


def shown_in(terminal: int) -> str:
    """Return all that was written to a pseudo-terminal whose other end is closed, and close it."""
    parts = []
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(terminal, 100_000):  # the system hands it over piece by piece
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()
