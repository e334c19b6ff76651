"""A learning-rate range test: the rates to try, and the rate that the losses suggest.

The test trains while the rate rises step by step, and finds where the loss falls (Smith 2017, "Cyclical Learning
Rates for Training Neural Networks", arXiv 1506.01186, section 3.3; here the rate rises exponentially).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, combinations_with_replacement

import numpy as np

from utils.text import plural

DIVERGED = 4.0
"""The test ends when the average of the last losses exceeds this multiple of the loss at the start. (Not of the lowest
loss so far, which is random with small batches. Ending too late costs a few steps, ending too early the result.)"""
HIGHEST = 1.25
"""Smoothing clips losses to this multiple of the loss at the start, so that no explosion at the end dominates."""
CLEAR = 3.0
"""The loss must fall by this multiple of the median difference between successive steps. In 1,000 tests on pure noise,
none with 50 steps fell that far, and 8 with 10 steps did."""


def rising_rates(min_lr: float, max_lr: float, steps: int) -> list[float]:
    """Return `steps` rates from `min_lr` to `max_lr`, evenly spaced in their logarithms."""
    return np.geomspace(min_lr, max_lr, steps).tolist()


def has_diverged(losses: Sequence[float], steps: int) -> bool:
    """Whether a test of `steps` steps has diverged, by the bias-corrected exponential average of its losses."""
    average = _decayed(losses, steps)[-1] / _decayed([1.0] * len(losses), steps)[-1]
    return bool(average > DIVERGED * _start(losses, steps))


def smoothed(losses: Sequence[float], steps: int) -> np.ndarray:
    """Return the losses, clipped to `HIGHEST` and averaged with weights that fall exponentially on both sides.

    An average over the past only would lag behind, and suggest too high a rate. Near the ends the weights still add up
    to 1 (bias correction).

    Args:
        steps: number of steps of the whole test, which may be more than there are losses. Weights fall by a factor of e
            over a twentieth of them.
    """
    values, ones = np.minimum(losses, HIGHEST * _start(losses, steps)), np.ones(len(losses))
    return _both_ways(values, steps) / _both_ways(ones, steps)


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> tuple[int | None, str]:
    """Return the index of the rate to train with: where the smoothed loss falls most steeply over the log of the rate.

    It is the slope of the least-squares line through the smoothed losses, over 15 % of the steps on each side, since
    differences of neighbours are noise, which grows with the rate. The line goes through the running minimum of the
    curve, so that falling from a peak does not count.

    Args:
        rates: the rates of the whole test.
        losses: the losses at these rates; fewer if the test ended early.

    Returns:
        An index of `losses` and ''; or, if the loss does not fall clearly between rates too small and too large, None
        and what to do about it.
    """
    steps, half = len(rates), max(round(0.15 * len(rates)), 2)
    whole = len(losses) - 2 * half  # windows that are complete
    if whole < 1:
        taken = plural(len(losses), "step")
        return None, f"the loss diverged within {taken}: pass a smaller min_lr={rates[0] / 100:.2g}"
    curve = smoothed(losses, steps)
    lowest = int(curve.argmin())
    enough = max(CLEAR * float(np.median(np.abs(np.diff(losses)))), 0.001 * curve[0])
    if curve[0] - curve[lowest] <= enough:
        risen = len(losses) < steps or curve[-1] - curve[0] > enough
        way_out = f"a smaller min_lr={rates[0] / 100:.2g}" if risen else f"a larger max_lr={rates[-1] * 100:.2g}"
        return None, f"the loss does not fall clearly at any of these rates: pass {way_out}, or more steps={2 * steps}"
    falls = np.minimum.accumulate(curve)
    slopes = [_slope(falls[first : first + 2 * half + 1]) for first in range(whole)]
    steepest = int(np.argmin(slopes))
    if steepest == 0:
        return None, f"the loss falls fastest at the smallest rates: pass a smaller min_lr={rates[0] / 100:.2g}"
    lowest_at_the_end = len(losses) == steps and lowest >= steps - max(steps // 20, 2)
    if lowest_at_the_end and slopes[-1] < 0.25 * slopes[steepest]:  # it has not levelled off either
        return None, f"the loss still falls at the largest rates: pass a larger max_lr={rates[-1] * 10:.2g}"
    return steepest + half, ""


def averaged(runs: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean loss of several tests at each rate that all of them have reached."""
    shortest = min(map(len, runs))
    return np.mean([losses[:shortest] for losses in runs], axis=0).tolist()


def uncertainty(rates: Sequence[float], runs: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Return the lowest and highest rate that the mean of as many tests suggests, over resamples of these tests.

    Every sample with replacement is tried, where a bootstrap (Efron 1979) would draw some: 10 for 3 tests, 126 for 5.
    None if fewer than half of them suggest a rate.

    Args:
        rates: the rates of the whole test.
        runs: the losses of at most 6 tests that differ in their seed.
    """
    samples = list(combinations_with_replacement(runs, len(runs)))
    places = [suggestion(rates, averaged(sample))[0] for sample in samples]
    found = [rates[place] for place in places if place is not None]
    return (min(found), max(found)) if 2 * len(found) >= len(samples) else None


def _start(losses: Sequence[float], steps: int) -> float:
    """Return the median loss of the first tenth of the steps."""
    return float(np.median(losses[: max(steps // 10, 3)]))


def _decayed(values: Sequence[float] | np.ndarray, steps: int) -> np.ndarray:
    """Return at each index the sum of the values up to it, with weights that fall exponentially with the distance."""
    weight = np.exp(-1 / max(steps / 20, 2))
    return np.array(list(accumulate(values, lambda total, value: weight * total + value)))


def _both_ways(values: np.ndarray, steps: int) -> np.ndarray:
    """Return `_decayed` sums of the values on both sides."""
    return _decayed(values, steps) + _decayed(values[::-1], steps)[::-1] - values


def _slope(values: np.ndarray) -> float:
    """Return the slope of the least-squares line through evenly spaced values."""
    places = np.arange(len(values)) - (len(values) - 1) / 2
    return float(places @ values / (places @ places))
