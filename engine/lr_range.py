"""The numbers of a learning-rate range test: rates to try, and what the losses at them say.

The test trains with a rate that rises step by step, and looks where the loss falls (Smith 2017, "Cyclical Learning
Rates for Training Neural Networks", arXiv 1506.01186, section 3.3; here the rate rises exponentially).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

DIVERGED = 4.0
"""The test is over when the average of the last losses is so many times that of the start. (The lowest so far is no
measure: with small batches it is a matter of luck. A test that ends too late costs a few steps, one that ends too early
its result.)"""
HIGHEST = 1.25
"""Smoothing counts losses as so many times that of the start at most, or an explosion at the end would cover what was
before it."""
CLEAR = 3.0
"""A fall of the loss counts from so many times the usual difference between one step and the next. Of 1,000 tests on
noise alone none with 50 steps fell as far, and 8 with 10 steps did."""


def rising_rates(min_lr: float, max_lr: float, steps: int) -> list[float]:
    """`steps` rates from `min_lr` to `max_lr`, each the same multiple of the one before."""
    return np.geomspace(min_lr, max_lr, steps).tolist()


def has_diverged(losses: Sequence[float], steps: int) -> bool:
    """Whether a test of `steps` steps is over before its end, going by the bias-corrected exponential average."""
    average = _decayed(losses, steps)[-1] / _decayed([1.0] * len(losses), steps)[-1]
    return bool(average > DIVERGED * _start(losses, steps))


def smoothed(losses: Sequence[float], steps: int) -> np.ndarray:
    """The losses, none counted as more than `HIGHEST`, averaged with weights that fall exponentially to both sides.

    An average of the past alone would lag behind, and suggest too high a rate. Near the ends, where there is less on
    one side, the weights still add up to 1 (bias correction).

    Args:
        steps: of the whole test, of which losses may be the beginning; a 20th of them is the distance over which
            weights fall by e.
    """
    values, ones = np.minimum(losses, HIGHEST * _start(losses, steps)), np.ones(len(losses))
    return _both_ways(values, steps) / _both_ways(ones, steps)


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> tuple[int | None, str]:
    """The place of the rate to train with: where the smoothed loss falls most steeply over the rate's logarithm.

    The slope at a place is that of the least-squares line through the smoothed losses around it, 15 % of the steps to
    each side; the differences of neighbours would be those of the noise, which grows with the rate. Where the curve is
    above what it was before, the line goes through that: a fall from a peak is none.

    Args:
        rates: of the whole test.
        losses: at the first of them; fewer where the test ended early.

    Returns:
        A place in `losses`, and ''; or, where the loss does not fall clearly between rates too small and too large,
        None, and what to do about it.
    """
    steps, half = len(rates), max(round(0.15 * len(rates)), 2)
    whole = len(losses) - 2 * half  # windows that are not cut off
    if whole < 1:
        return None, f"the loss diverged within {len(losses)} steps: say a smaller min_lr={rates[0] / 100:.2g}"
    curve = smoothed(losses, steps)
    lowest = int(curve.argmin())
    enough = max(CLEAR * float(np.median(np.abs(np.diff(losses)))), 0.001 * curve[0])
    if curve[0] - curve[lowest] <= enough:
        risen = len(losses) < steps or curve[-1] - curve[0] > enough
        way_out = f"a smaller min_lr={rates[0] / 100:.2g}" if risen else f"a larger max_lr={rates[-1] * 100:.2g}"
        return None, f"the loss does not fall clearly at any of these rates: say {way_out}, or more steps={2 * steps}"
    falls = np.minimum.accumulate(curve)
    slopes = [_slope(falls[first : first + 2 * half + 1]) for first in range(whole)]
    steepest = int(np.argmin(slopes))
    if steepest == 0:
        return None, f"the loss falls fastest at the smallest rates: say a smaller min_lr={rates[0] / 100:.2g}"
    lowest_at_the_end = len(losses) == steps and lowest >= steps - max(steps // 20, 2)
    if lowest_at_the_end and slopes[-1] < 0.25 * slopes[steepest]:  # it has not levelled off either
        return None, f"the loss still falls at the largest rates: say a larger max_lr={rates[-1] * 10:.2g}"
    return steepest + half, ""


def _start(losses: Sequence[float], steps: int) -> float:
    """The usual loss of the first tenth of the steps."""
    return float(np.median(losses[: max(steps // 10, 3)]))


def _decayed(values: Sequence[float] | np.ndarray, steps: int) -> np.ndarray:
    """At each place the sum of the values up to there, with weights that fall exponentially with the distance."""
    weight = np.exp(-1 / max(steps / 20, 2))
    return np.array(list(accumulate(values, lambda total, value: weight * total + value)))


def _both_ways(values: np.ndarray, steps: int) -> np.ndarray:
    """As `_decayed`, of the values to both sides."""
    return _decayed(values, steps) + _decayed(values[::-1], steps)[::-1] - values


def _slope(values: np.ndarray) -> float:
    """Of the least-squares line through evenly spaced values."""
    places = np.arange(len(values)) - (len(values) - 1) / 2
    return float(places @ values / (places @ places))
