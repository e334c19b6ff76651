"""The numbers of a learning-rate range test, on losses whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from engine.lr_range import averaged, has_diverged, rising_rates, smoothed, suggestion, uncertainty


def falling(rates: Sequence[float], steepest: float) -> np.ndarray:
    """Losses that fall from 3 to 2, most steeply at one rate, in about two decades."""
    return 2 + 1 / (1 + np.exp((np.log10(rates) - math.log10(steepest)) / 0.3))


def test_rates_are_a_geometric_series() -> None:
    np.testing.assert_allclose(rising_rates(0.001, 1.0, 4), [0.001, 0.01, 0.1, 1.0], rtol=1e-12)
    rates = rising_rates(3e-7, 20.0, 77)
    assert len(rates) == 77 and rates[0] == 3e-7 and rates[-1] == 20.0
    np.testing.assert_allclose(np.divide(rates[1:], rates[:-1]), (20.0 / 3e-7) ** (1 / 76), rtol=1e-9)


def test_smoothing_by_hand() -> None:
    w = math.exp(-1 / 2)  # a 20th of 40 steps is 2
    curve = smoothed([3.0, 2.5, 2.0], steps=40)
    expected = [(3 + 2.5 * w + 2 * w**2) / (1 + w + w**2), 2.5, (2 + 2.5 * w + 3 * w**2) / (1 + w + w**2)]
    np.testing.assert_allclose(curve, expected, rtol=1e-12)


@pytest.mark.parametrize(("count", "steps", "distance"), [(10, 10, 2), (100, 100, 5), (60, 300, 15)])
def test_smoothing_is_a_weighted_mean(count: int, steps: int, distance: int) -> None:
    losses = 3 + 0.1 * np.random.default_rng(0).normal(size=count)
    places = np.arange(count)
    weights = np.exp(-np.abs(places[:, None] - places) / distance)
    expected = weights @ losses / weights.sum(1)
    np.testing.assert_allclose(smoothed(losses.tolist(), steps), expected, rtol=1e-10)


def test_smoothing_does_not_lag_behind() -> None:
    """A valley stays where it is, whatever explodes long after it."""
    losses = [3 - 0.05 * min(i, 60 - i) for i in range(61)] + [3.0] * 34
    assert smoothed(losses, 100).argmin() == 30
    assert smoothed([*losses, 1e2, 1e5, 1e9], 100).argmin() == 30
    np.testing.assert_allclose(smoothed([*losses, 1e9], 100)[:45], smoothed(losses, 100)[:45], rtol=1e-4)


def test_divergence_by_hand() -> None:
    w = math.exp(-1 / 2)
    ones = [1.0] * 4
    # (x + w + w^2 + w^3 + w^4) / (1 + w + w^2 + w^3 + w^4) = 4
    weights = [w**i for i in range(5)]
    limit = 4 * sum(weights) - sum(weights[1:])
    assert not has_diverged([*ones, limit - 1e-6], steps=40)
    assert has_diverged([*ones, limit + 1e-6], steps=40)


def test_what_is_no_divergence() -> None:
    assert not has_diverged([3.2], steps=100)
    assert not has_diverged([0.0], steps=100)
    noise = np.random.default_rng(0).lognormal(sigma=0.7, size=200).tolist()  # of batches of one image
    assert not any(has_diverged(noise[:i], 200) for i in range(1, 201))
    fast = [3.2] * 20 + [0.05] * 60 + [3.0] * 20  # back where it was, no worse
    assert not any(has_diverged(fast[:i], 100) for i in range(1, 101))
    assert not has_diverged([3.2] * 60 + [30.0], steps=100)  # one bad batch
    assert has_diverged([3.2] * 60 + [30.0] * 4, steps=100)


@pytest.mark.parametrize("steepest", [1e-4, 1e-3, 0.005])
@pytest.mark.parametrize("steps", [30, 100, 500])
def test_the_steepest_place_is_suggested(steepest: float, steps: int) -> None:
    rates = rising_rates(1e-6, 1.0, steps)
    place, reason = suggestion(rates, falling(rates, steepest).tolist())
    assert place is not None and reason == ""
    assert abs(math.log10(rates[place] / steepest)) < 0.25


def test_noise_that_grows_with_the_rate() -> None:
    rates = rising_rates(1e-6, 1.0, 100)
    found = []
    for seed in range(50):
        noise = np.random.default_rng(seed).normal(size=100) * (0.02 + 0.1 * np.linspace(0, 1, 100) ** 2)
        place, _ = suggestion(rates, (falling(rates, 0.003) + noise).tolist())
        assert place is not None
        found.append(math.log10(rates[place] / 0.003))
    assert abs(np.mean(found)) < 0.15 and np.max(np.abs(found)) < 0.8


def test_a_fall_from_a_peak_is_none() -> None:
    """What falls most steeply, but only after it has risen, says nothing of where to train."""
    rates = rising_rates(1e-6, 1.0, 100)
    losses = falling(rates, 1e-3)
    losses[70:84] += 1.5
    losses[84:] += 0.2
    place, _ = suggestion(rates, losses.tolist())
    assert place is not None and 3e-4 < rates[place] < 3e-3


def test_gradient_descent_on_a_quadratic() -> None:
    """f(x) = sum of L_i x_i^2 / 2 diverges at rates from 2 / max L on; the suggestion is below, and not far below."""
    curvature = np.geomspace(1, 100, 20)
    rates = rising_rates(1e-6, 10.0, 200)
    point, losses = np.ones(20), []
    for rate in rates:
        losses.append(float(curvature @ point**2 / 2))
        if has_diverged(losses, len(rates)):
            break
        point -= rate * curvature * point
    assert 2 / 100 < rates[len(losses) - 1] < 10
    place, _ = suggestion(rates, losses)
    assert place is not None
    assert 2 / 100 / 100 < rates[place] < 2 / 100


def random_losses(steps: int, seed: int = 0) -> np.ndarray:
    return 3 + 0.05 * np.random.default_rng(seed).normal(size=steps)


@pytest.mark.parametrize("steps", [10, 20, 100, 1000])
def test_noise_alone_is_no_fall(steps: int) -> None:
    rates = rising_rates(1e-6, 1e-4, steps)
    place, reason = suggestion(rates, random_losses(steps).tolist())
    assert place is None
    assert "does not fall clearly" in reason and "max_lr=0.01, " in reason and reason.endswith(f"steps={2 * steps}")


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (random_losses(100) + np.linspace(0, 1, 100) ** 2, ["does not fall clearly", "min_lr=1e-08"]),  # only rises
        ([3.0] * 3 + [50.0, 500.0], ["diverged within 5 steps", "min_lr=1e-08"]),
        ([3.0], ["diverged within 1 step:", "min_lr=1e-08"]),
        (falling(rising_rates(1e-6, 1.0, 100), 1.0), ["still falls", "max_lr=10"]),
        (falling(rising_rates(1e-6, 1.0, 100), 0.3), ["still falls", "max_lr=10"]),
        (falling(rising_rates(1e-6, 1.0, 100), 1e-6), ["falls fastest at the smallest", "min_lr=1e-08"]),
        ([3.0] * 100, ["does not fall clearly", "max_lr=1e+02"]),
    ],
)
def test_no_suggestion(losses: Sequence[float], said: list[str]) -> None:
    place, reason = suggestion(rising_rates(1e-6, 1.0, 100), np.asarray(losses).tolist())
    assert place is None
    for fragment in said:
        assert fragment in reason, reason


def test_what_other_runs_would_suggest() -> None:
    """Noise on a curve that falls around 1e-3: each of many new triples of runs suggests a rate near the range."""
    rates = rising_rates(1e-6, 1.0, 100)
    rng = np.random.default_rng(0)
    clean = 2 - 1.5 / (1 + np.exp(-3 * (np.log10(rates) + 3)))

    def three() -> list[list[float]]:
        return (clean + 0.5 * rng.standard_normal((3, 100))).tolist()

    singles = [suggestion(rates, run)[0] for _ in range(10) for run in three()]
    means = [suggestion(rates, averaged(three()))[0] for _ in range(20)]
    assert singles.count(None) > 5 and means.count(None) == 0
    spread = uncertainty(rates, three())
    assert spread is not None and spread[0] < spread[1]
    inside = [place for place in means if place is not None and spread[0] / 2 <= rates[place] <= spread[1] * 2]
    assert len(inside) >= 14
    place = suggestion(rates, clean.tolist())[0]
    assert place is not None and uncertainty(rates, [clean.tolist()] * 3) == (rates[place], rates[place])
    assert uncertainty(rates, (2 + 0.25 * rng.standard_normal((3, 100))).tolist()) is None  # noise only
    assert averaged([[1.0, 2.0, 3.0], [3.0, 4.0]]) == [2.0, 3.0]
