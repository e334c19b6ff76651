import math
import statistics

import numpy as np
import pytest

import data.statistics
from data.statistics import count_pixels
from data.synthetic import Synthetic
from losses.class_weights import enet, median_frequency
from losses.combinations import cross_entropy

# Two images of 100 pixels: classes 0, 1 and 2; class 1 is in the first alone, class 3 nowhere.
PIXELS = np.array([[70, 20, 10, 0], [60, 0, 40, 0]])


def test_enet() -> None:
    shares = [130 / 200, 20 / 200, 50 / 200, 0]
    assert enet(PIXELS) == pytest.approx([1 / math.log(1.02 + p) for p in shares])


def test_median_frequency() -> None:
    frequencies = [130 / 200, 20 / 100, 50 / 200]
    median = statistics.median(frequencies)
    assert median_frequency(PIXELS) == pytest.approx([median / f for f in frequencies] + [1.0])


def test_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Synthetic(size=(32, 40), split="train", train_length=7)
    counts = count_pixels(dataset)
    for i in range(7):
        assert counts[i].tolist() == [int((dataset[i].mask == c).sum()) for c in range(9)]
    monkeypatch.setattr(data.statistics, "ENOUGH", 3)
    np.testing.assert_array_equal(count_pixels(dataset), counts[[0, 3, 6]])


def test_a_name_is_no_weight() -> None:
    with pytest.raises(TypeError, match="enet"):
        cross_entropy("enet")
