"""The time per image, with a clock that is set by hand."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from inference.clock import ImageClock, per_image_text


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    shown = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: shown.seconds)
    return shown


def test_the_first_of_several_images_is_left_out(now: SimpleNamespace) -> None:
    predictor: Any = SimpleNamespace(network_seconds=5.0)
    clock = ImageClock(predictor)
    for whole, network in ((2.0, 1.5), (0.010, 0.004), (0.030, 0.006)):
        now.seconds += whole
        predictor.network_seconds += network
        clock.tick()
    now.seconds += 9  # what comes after the last image does not count
    assert clock.per_image() == pytest.approx((20.0, 5.0))
    assert per_image_text(clock, "frame") == "20.0 ms per frame with reading and writing, 5.0 ms in the network"


def test_a_single_image_counts(now: SimpleNamespace) -> None:
    predictor: Any = SimpleNamespace(network_seconds=0.0)
    clock = ImageClock(predictor)
    now.seconds, predictor.network_seconds = 100.25, 0.125
    clock.tick()
    assert clock.per_image() == pytest.approx((250.0, 125.0))
