"""Time alternatives in turn, so that a busy machine slows all of them equally, and measure memory in new processes."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

Clock = Callable[[], float]
T = TypeVar("T")


def clock_of_computations() -> Clock:
    """Return CPU time of the process if PyTorch has one thread: other programs disturb it less. Else wall-clock time.

    Threads that wait for each other use CPU time as well.
    """
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def seconds(function: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return the seconds of a call."""
    start = clock()
    function()
    return clock() - start


def alternating(
    rivals: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of each rival's calls in `rounds` rounds, after `warmup` rounds that are not timed.

    Every other round is in reverse order, so that none always follows the same one.
    """
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(warmup + rounds):
        for name in list(rivals) if turn % 2 == 0 else reversed(list(rivals)):
            elapsed = seconds(rivals[name], clock)
            if turn >= warmup:
                times[name].append(elapsed)
    return times


def interleaved(
    rivals: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Return the medians of `alternating`."""
    return {name: statistics.median(times) for name, times in alternating(rivals, rounds, warmup, clock).items()}


def in_new_process(function: Callable[..., T], *arguments: object) -> T:
    """Return what a function of a module returns in a process that has done nothing else."""
    # Not forked: OpenMP's threads do not exist in a copy of this process, which would wait for them.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def milliseconds(value: float) -> str:
    """Return seconds as '12.3 ms'."""
    return f"{value * 1000:.1f} ms"
