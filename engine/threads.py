"""The number of threads of computations on the CPU."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from typing import Literal, NamedTuple

import psutil
import torch

from utils.text import plural

SECONDS = 0.1
"""How long the load of the machine is measured."""
ALMOST_FREE = 0.7
"""Share of a core that must be idle for a thread to use it."""
LEAST_SECONDS = 10.0
"""How long the load is measured, at least, before the number of threads changes during a training."""

log = logging.getLogger(__name__)


def set_threads(threads: int | Literal["auto"]) -> None:
    """Set the number of threads of this process.

    With `auto` it is `OMP_NUM_THREADS`, or else one per core that other programs leave idle, at least one. OpenMP's
    threads wait for each other in busy loops: if another program runs on each core, two of them are 5 to 40 times as
    slow as one.
    """
    usual = usual_threads()
    found = usual if threads == "auto" else threads
    if may_choose_threads(threads):
        found = _threads_for(idle_cores())
        if found < usual:
            log.info("other programs use the CPU: %d of %d threads; OMP_NUM_THREADS sets another number", found, usual)
    torch.set_num_threads(found)


def may_choose_threads(threads: int | Literal["auto"]) -> bool:
    """Whether the number of threads is left to `set_threads`, and there is more than one number to choose."""
    return threads == "auto" and usual_threads() > 1 and "OMP_NUM_THREADS" not in os.environ


def _threads_for(free: float) -> int:
    """Return the number of threads for this many free cores."""
    return min(max(int(free + 1 - ALMOST_FREE), 1), usual_threads())


class Load(NamedTuple):
    """CPU time so far, in seconds.

    Attributes:
        at: when it was read.
        all_programs: CPU time of all programs, on the cores that this process may use.
        own: CPU time of this process and its children.
    """

    at: float
    all_programs: float
    own: float


def load_so_far() -> Load:
    """Read the CPU time from the system, which takes a few milliseconds."""
    per_core = psutil.cpu_times(percpu=True)
    busy = sum(per_core[core].user + per_core[core].system for core in _cores(len(per_core)))
    busy += sum(getattr(per_core[core], "nice", 0.0) for core in _cores(len(per_core)))
    own = sum(os.times()[:4])  # with children that have ended
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            own += sum(child.cpu_times()[:2])
    return Load(time.monotonic(), busy, own)


def adapt_threads(last: Load) -> Load:
    """Use one thread per core that other programs have left free since the load `last`; return the load to pass next.

    Does nothing within `LEAST_SECONDS`. Call it only if `may_choose_threads`, since rounding depends on the number.
    """
    now = load_so_far()
    seconds = now.at - last.at
    if seconds < LEAST_SECONDS:
        return last
    others = max((now.all_programs - last.all_programs) - (now.own - last.own), 0) / seconds
    before = torch.get_num_threads()
    found = _threads_for(len(_cores(psutil.cpu_count() or 1)) - others)
    if found != before:
        log.info("other programs use %.1f cores: %s instead of %d", others, plural(found, "thread"), before)
        torch.set_num_threads(found)
    return now


@functools.cache
def usual_threads() -> int:
    """Return the number of threads before the first change: a job of a sweep must not inherit that of the last job."""
    return torch.get_num_threads()


def idle_cores() -> float:
    """Measure how many of the cores that this process may use are idle."""
    busy = psutil.cpu_percent(SECONDS, percpu=True)
    return sum(1 - busy[core] / 100 for core in _cores(len(busy)))


def _cores(count: int) -> list[int]:
    """Return the numbers of the cores that this process may use, of `count`."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(count)
    return [core for core in usable if core < count]
