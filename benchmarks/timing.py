"""Fair timings of rivals: run by run in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interleaved(rivals: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2) -> dict[str, float]:
    """The median seconds of each rival's calls, over `rounds` rounds after `warmup` unmeasured ones.

    Every other round goes through the rivals backwards, so that none always follows the same one.
    """
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(warmup + rounds):
        for name in list(rivals) if turn % 2 == 0 else reversed(list(rivals)):
            elapsed = seconds(rivals[name])
            if turn >= warmup:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def milliseconds(value: float) -> str:
    """Seconds as '12.3 ms'."""
    return f"{value * 1000:.1f} ms"
