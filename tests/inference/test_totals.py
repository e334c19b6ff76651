"""The time per image, with a clock that is set by hand, and the shares of the classes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.labels import LabelSet
from inference.totals import Totals

LABELS = LabelSet(("road", "car"), ((1, 2, 3), (4, 5, 6)))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    shown = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: shown.seconds)
    return shown


def test_the_time_of_the_first_of_several_images_is_left_out(now: SimpleNamespace) -> None:
    predictor: Any = SimpleNamespace(network_seconds=5.0, labels=LABELS)
    totals = Totals(predictor, "frame")
    for whole, network, cars in ((2.0, 1.5, 4), (0.010, 0.004, 1), (0.030, 0.006, 1)):
        now.seconds += whole
        predictor.network_seconds += network
        totals.add(np.array([[1] * cars + [0] * (4 - cars)], np.uint8))
    now.seconds += 9  # what comes after the last image does not count
    assert totals.per_image() == pytest.approx((20.0, 5.0))
    table, times = totals.lines()
    assert times == "20.0 ms per frame with reading and writing, 5.0 ms in the network"
    assert "mean of 3 frames" in table and "| car   | 50.00% |" in table and "| road  | 50.00% |" in table


def test_a_single_image_counts(now: SimpleNamespace) -> None:
    predictor: Any = SimpleNamespace(network_seconds=0.0, labels=LABELS)
    totals = Totals(predictor)
    now.seconds, predictor.network_seconds = 100.25, 0.125
    totals.add(None)
    assert totals.per_image() == pytest.approx((250.0, 125.0)) and totals.lines() == []
