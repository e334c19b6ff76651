"""The number of threads of computations on the CPU."""

from __future__ import annotations

import functools
import logging
import os
from typing import Literal

import psutil
import torch

SECONDS = 0.3
"""How long the load of the machine is measured."""
ALMOST_FREE = 0.7
"""Share of a core that must be idle for a thread to use it."""

log = logging.getLogger(__name__)


def set_threads(threads: int | Literal["auto"]) -> None:
    """Set the number of threads of this process.

    With `auto` it is what `OMP_NUM_THREADS` says, or else one per core that other programs leave idle, at least one.
    OpenMP's threads wait for each other in busy loops: beside another program on each core, two of them are 5 to 40
    times as slow as one.
    """
    usual = usual_threads()
    if threads != "auto":
        torch.set_num_threads(threads)
        return
    found = usual
    if usual > 1 and "OMP_NUM_THREADS" not in os.environ:
        found = min(max(int(idle_cores() + 1 - ALMOST_FREE), 1), usual)
    if found < usual:
        log.info("other programs use the CPU, so training uses %d of %d threads; see trainer.threads", found, usual)
    torch.set_num_threads(found)


@functools.cache
def usual_threads() -> int:
    """Return the number of threads before the first change: a job of a sweep must not get that of the job before."""
    return torch.get_num_threads()


def idle_cores() -> float:
    """Measure how many of the cores that this process may use are idle."""
    busy = psutil.cpu_percent(SECONDS, percpu=True)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(busy))
    return sum(1 - busy[core] / 100 for core in cores if core < len(busy))
