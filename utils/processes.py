"""Tell whether the process of a run is still there."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

TOLERANCE = 5.0
"""Seconds by which two readings of a process's start time may differ after the clock was set."""


def this_process() -> dict[str, Any]:
    """Return what identifies this process, for summary.json."""
    import psutil

    return {"host": platform.node(), "pid": os.getpid(), "created": round(psutil.Process().create_time(), 3)}


def current_status(summary: Mapping[str, Any], default: str) -> str:
    """Return the status in a summary.json, or else `default`; `killed` if it is `running` but the process is gone."""
    status = str(summary.get("status") or default)
    return "killed" if status == "running" and is_gone(summary.get("process")) else status


def is_gone(process: Any) -> bool:
    """Whether a process is known to have ended: it was on this machine, and is no longer there.

    Args:
        process: as `this_process` returned it; anything else counts as not known.
    """
    if not isinstance(process, Mapping) or process.get("host") != platform.node():
        return False
    pid, created = process.get("pid"), process.get("created")
    if not isinstance(pid, int) or not isinstance(created, int | float) or not 0 < pid < 2**31:
        return False
    import psutil

    try:
        found = psutil.Process(pid)
        return found.status() == psutil.STATUS_ZOMBIE or abs(found.create_time() - created) > TOLERANCE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
