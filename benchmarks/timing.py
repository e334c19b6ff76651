"""Time alternatives in turn, so that a busy machine slows all of them equally."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Clock = Callable[[], float]


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


def milliseconds(value: float) -> str:
    """Return seconds as '12.3 ms'."""
    return f"{value * 1000:.1f} ms"
