"""Confidence intervals, against scipy and a naive bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from comparison.significance import Counts, joined, over_photos, over_seeds


@pytest.mark.parametrize(("first", "second"), [((0.61, 0.64, 0.60, 0.63), (0.55, 0.58, 0.50)), ((1, 2, 3), (1, 2, 9))])
def test_over_seeds(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    found = over_seeds(first, second)
    expected = stats.ttest_ind(first, second, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert found is not None and found == pytest.approx((np.mean(first) - np.mean(second), low, high))
    assert found.is_clear == (expected.pvalue < 0.05)
    reversed_ = over_seeds(second, first)
    assert reversed_ is not None and reversed_ == pytest.approx((-found.difference, -high, -low))


def test_two_seeds_are_too_few() -> None:
    assert over_seeds((0.5, 0.6), (0.1, 0.2, 0.3)) is None
    assert over_seeds((0.5, 0.6, 0.7), (0.1,)) is None
    assert over_seeds((0.5,) * 3, (0.25,) * 3) == (0.25, 0.25, 0.25)


def photos(seed: int, better: float = 0.0, count: int = 30) -> Counts:
    """Counts of photos whose classes and sizes differ; the third class is rare."""
    world, guess = np.random.default_rng(0), np.random.default_rng(seed)
    unions = world.integers(50, 1000, (count, 3))
    unions[world.random(count) < 0.8, 2] = 0
    shares = np.clip(world.uniform(0.3, 0.9, (count, 3)) + better + guess.normal(0, 0.05, (count, 3)), 0, 1)
    names = np.array([f"photo {i}" for i in range(count)])
    return Counts(names, (unions * shares).astype(np.int64), unions)


def naive_miou(run: Counts, chosen: list[int]) -> float:
    ious = []
    for c in range(run.unions.shape[1]):
        both = sum(int(run.intersections[i, c]) for i in chosen)
        either = sum(int(run.unions[i, c]) for i in chosen)
        if either:
            ious.append(both / either)
    return sum(ious) / len(ious)


def test_over_photos() -> None:
    first, second = [photos(1, 0.03), photos(2, 0.03)], [photos(3), photos(4)]
    found = over_photos(first, second, resamples=4000)
    rng = np.random.default_rng(7)

    def difference(chosen: list[int]) -> float:
        means = [sum(naive_miou(run, chosen) for run in group) / 2 for group in (first, second)]
        return means[0] - means[1]

    drawn = sorted(difference(rng.integers(0, 30, 30).tolist()) for _ in range(1000))
    assert found is not None and found.difference == pytest.approx(difference(list(range(30))))
    width = drawn[974] - drawn[25]
    assert found.low == pytest.approx(drawn[25], abs=0.12 * width)
    assert found.high == pytest.approx(drawn[974], abs=0.12 * width)


def test_nine_photos_are_too_few() -> None:
    first, second = photos(1, 0.03), photos(2)
    few = [Counts(*(part[:9] for part in run)) for run in (first, second)]
    assert over_photos([few[0]], [few[1]]) is None
    ten = [Counts(*(part[:10] for part in run)) for run in (first, second)]
    assert over_photos([ten[0]], [ten[1]]) is not None


def test_photos_are_paired_by_name() -> None:
    """The same errors in another order are no difference."""
    run, order = photos(1), np.random.default_rng(0).permutation(30)
    shuffled = Counts(run.names[order], run.intersections[order], run.unions[order])
    assert over_photos([run], [shuffled]) == (0.0, 0.0, 0.0)
    assert over_photos([run], [Counts(run.names[:-1], run.intersections[:-1], run.unions[:-1])]) is None
    halves = [Counts(*(part[half] for part in run)) for half in (slice(15, None), slice(15))]
    assert over_photos([run], [joined(halves)]) == (0.0, 0.0, 0.0)
