"""What torchrun tells the processes that it starts, known before torch is imported."""

from __future__ import annotations

import os
from contextlib import suppress


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Return the number of this process, from 0; 0 without torchrun."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, from 0; 0 without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if launched() else 0


def local_processes() -> int:
    """Return the number of processes on this machine; 1 without torchrun."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1


def first_process_ended(timeout: float) -> bool:
    """Wait until the first process on this machine has ended.

    Args:
        timeout: seconds to wait at most.

    Returns:
        Whether it has ended.
    """
    import psutil

    running = []
    for process in psutil.Process(os.getppid()).children():  # of torchrun
        with suppress(psutil.Error):  # it has ended
            if process.environ().get("LOCAL_RANK") == "0":
                running.append(process)
    return not psutil.wait_procs(running, timeout=timeout)[1]
