"""The memory of this process."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_USUAL_THRESHOLDS = gc.get_threshold()


def look_for_garbage_rarely() -> None:
    """Spare a program that starts 0.3 s: imports create half a million objects, and none of them is garbage."""
    gc.set_threshold(50_000)


def look_for_garbage_as_usual() -> None:
    """Undo `look_for_garbage_rarely`: data sets of users may create garbage that holds whole photos."""
    gc.set_threshold(*_USUAL_THRESHOLDS)


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step; does nothing with another C library.

    By default it returns large blocks to the system, which zeroes them again in every step. That takes 10 to 20 % of
    the time of a small network on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):  # some versions accept at most 32 MiB
        mallopt(trim_threshold, 2**31 - 1)


def memory(field: str) -> int:
    """Return the bytes that this process uses: VmRSS now, VmHWM at its peak. (`ru_maxrss` includes the parent's.)"""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))
