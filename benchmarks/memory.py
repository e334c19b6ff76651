"""The memory of this process."""

from __future__ import annotations

from pathlib import Path


def memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far. (`ru_maxrss` would begin with the parent's.)"""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))
