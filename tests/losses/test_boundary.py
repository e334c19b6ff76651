"""Boundary-weighted cross-entropy against loops over pixels."""

import numpy as np
import pytest
import torch

from data.labels import IGNORE_INDEX
from losses.boundary import BoundaryCrossEntropy, near_boundary
from tests.losses.examples import example


def naive_boundary(target: np.ndarray, width: int) -> np.ndarray:
    """Look at every pair of pixels of an image."""
    found = np.zeros(target.shape, bool)
    for n, y, x in np.ndindex(*target.shape):
        for v, u in np.ndindex(*target.shape[1:]):
            close = abs(y - v) <= width and abs(x - u) <= width
            both = IGNORE_INDEX not in (target[n, y, x], target[n, v, u])
            found[n, y, x] |= close and both and target[n, y, x] != target[n, v, u]
    return found


def test_hand_worked_row() -> None:
    """Only pixels 2 and 3 have another class beside them: the void pixel 5 separates pixels 4 and 6."""
    row = torch.tensor([[[0, 0, 0, 4, 4, IGNORE_INDEX, 1, 1]]])
    assert near_boundary(row, 1).flatten().tolist() == [False, False, True, True, False, False, False, False]
    assert near_boundary(row, 2).flatten().tolist() == [False, True, True, True, True, False, True, False]


@pytest.mark.parametrize("width", [1, 2, 9])
@pytest.mark.parametrize("ignored", [0.0, 0.5, 0.9])
def test_pixels_near_a_boundary(width: int, ignored: float) -> None:
    _, target = example(width, ignored=ignored)
    np.testing.assert_array_equal(near_boundary(target, width).numpy(), naive_boundary(target.numpy(), width))


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.0, 3.25]])
def test_value(weights: list[float] | None) -> None:
    logits, target = example(4, ignored=0.6)
    target[:, :4] = 1
    near, log_p = naive_boundary(target.numpy(), 2), torch.log_softmax(logits.double(), 1).numpy()
    total = denominator = 0.0
    for n, y, x in np.ndindex(*target.shape):
        label = int(target[n, y, x])
        if label != IGNORE_INDEX:
            weight = (5.0 if near[n, y, x] else 1.0) * (weights[label] if weights else 1)
            total -= weight * log_p[n, label, y, x]
            denominator += weight
    assert near.any() and not near.all()
    term = BoundaryCrossEntropy(2, 5.0, weights)
    value = term(logits, target)
    assert value.total.item() == pytest.approx(total, rel=1e-5)
    assert value.denominator.item() == term.denominator(target).item() == pytest.approx(denominator, rel=1e-6)


@pytest.mark.parametrize(("width", "weight"), [(0, 5.0), (101, 5.0), (3, 0.0), (3, float("nan"))])
def test_options_out_of_range(width: int, weight: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        BoundaryCrossEntropy(width, weight)
