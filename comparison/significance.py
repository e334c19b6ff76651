"""Is one group of runs better than another? Differences with confidence intervals, over seeds and over photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
FEWEST_RUNS = 3
"""Per group; two runs say little about their deviation."""
FEWEST_PHOTOS = 10
"""With fewer, resamples are so similar that the interval is too narrow."""
RESAMPLES = 2000
AT_ONCE = 250  # resamples, to bound the memory


class Counts(NamedTuple):
    """Pixels of each photo and class.

    Attributes:
        names: (N,), of the photos.
        intersections, unions: int64 (N, C), of prediction and truth.
    """

    names: np.ndarray
    intersections: np.ndarray
    unions: np.ndarray


class Interval(NamedTuple):
    """A difference and its confidence interval."""

    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


def over_seeds(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return mean(first) - mean(second) with Welch's interval, for samples of unequal variance (Welch 1947).

    None if either has fewer than `FEWEST_RUNS` values.
    """
    from scipy.special import stdtrit  # imported here, since it takes a tenth of a second

    if min(len(first), len(second)) < FEWEST_RUNS:
        return None
    difference = float(np.mean(first) - np.mean(second))
    squares = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    total = sum(squares)
    if total == 0:
        return Interval(difference, difference, difference)
    freedom = total**2 / sum(s**2 / (len(v) - 1) for s, v in zip(squares, (first, second), strict=True))
    margin = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)
    return Interval(difference, difference - margin, difference + margin)


def over_photos(first: Sequence[Counts], second: Sequence[Counts], resamples: int = RESAMPLES) -> Interval | None:
    """Return the difference of two mIoU with an interval of the paired bootstrap over photos (Efron 1979).

    Photos are drawn with replacement, the same for all runs. Their intersections and unions are summed before they are
    divided, so that this is an interval of mIoU, not of a mean of scores per photo. The mIoU of a group is the mean of
    those of its runs.

    Args:
        first, second: the counts of each run of a group.

    Returns:
        None if the runs were not measured on the same photos, or on fewer than `FEWEST_PHOTOS`.
    """
    names = np.sort(first[0].names) if first and second else np.array([])
    if len(names) < FEWEST_PHOTOS or not all(np.array_equal(names, np.sort(run.names)) for run in (*first, *second)):
        return None
    if len({run.unions.shape for run in (*first, *second)}) > 1:
        return None
    groups = [[_in_order(run) for run in group] for group in (first, second)]
    whole = np.ones((1, len(names)))
    rng, drawn = np.random.default_rng(0), []
    for start in range(0, resamples, AT_ONCE):
        rows = min(AT_ONCE, resamples - start)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rows).astype(np.float64)
        drawn.append(_miou(groups[0], times) - _miou(groups[1], times))
    low, high = np.quantile(np.concatenate(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float((_miou(groups[0], whole) - _miou(groups[1], whole))[0]), float(low), float(high))


def joined(parts: Sequence[Counts]) -> Counts:
    """Return the counts of all photos of several parts, such as those that each fold holds out."""
    return Counts(*(np.concatenate([part[i] for part in parts]) for i in range(3)))


def _in_order(run: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return intersections and unions, float64 (N, C), in the order of the photos' names."""
    order = np.argsort(run.names, kind="stable")
    return run.intersections[order].astype(np.float64), run.unions[order].astype(np.float64)


def _miou(runs: Sequence[tuple[np.ndarray, np.ndarray]], times: np.ndarray) -> np.ndarray:
    """Return the mean mIoU of runs, float64 (B,), if each photo occurs `times` (B, N) times."""
    with np.errstate(invalid="ignore"):  # classes that do not occur: 0 / 0
        return np.mean([np.nanmean(times @ both / (times @ either), 1) for both, either in runs], 0)
