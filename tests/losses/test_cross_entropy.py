from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.cross_entropy import CrossEntropy
from tests.losses.examples import example, total_and_gradient

WEIGHTS = [0.5, 2.0, 1.0, 0.0, 3.25]
OPTIONS = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])


def reference(logits: Tensor, target: Tensor, weights: list[float] | None) -> tuple[float, float, np.ndarray]:
    """Total, denominator and gradient of total / denominator in float64, one pixel after the other."""
    z, t = logits.detach().double().numpy(), target.numpy()
    total = denominator = 0.0
    gradient = np.zeros_like(z)
    for n, y, x in np.ndindex(*t.shape):
        label = t[n, y, x]
        if label == IGNORE_INDEX:
            continue
        weight = 1.0 if weights is None else weights[label]
        exponentials = [math.exp(value) for value in z[n, :, y, x]]
        for c, exponential in enumerate(exponentials):
            gradient[n, c, y, x] = weight * (exponential / sum(exponentials) - (c == label))
        total -= weight * math.log(exponentials[label] / sum(exponentials))
        denominator += weight
    return total, denominator, gradient / (denominator or 1)


@OPTIONS
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradient(weights: list[float] | None, seed: int, layout: torch.memory_format) -> None:
    logits, target = example(seed)
    total, denominator, gradient = total_and_gradient(
        CrossEntropy(weights), logits.contiguous(memory_format=layout), target
    )
    expected_total, expected_denominator, expected_gradient = reference(logits, target, weights)
    assert total.item() == pytest.approx(expected_total, rel=1e-5)
    assert denominator.item() == pytest.approx(expected_denominator, rel=1e-6)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=1e-4, atol=1e-7)
    assert (gradient.movedim(1, -1)[target == IGNORE_INDEX] == 0).all()


def test_hand_worked_pixel() -> None:
    """Logits ln 1, ln 2, ln 5 are the probabilities 1/8, 2/8, 5/8."""
    logits = torch.tensor([1.0, 2.0, 5.0]).log().view(1, 3, 1, 1)
    total, denominator, gradient = total_and_gradient(CrossEntropy(), logits, torch.tensor([[[1]]]))
    assert total.item() == pytest.approx(math.log(4))
    assert denominator.item() == 1
    np.testing.assert_allclose(gradient.flatten(), [1 / 8, 2 / 8 - 1, 5 / 8], rtol=1e-6)


@OPTIONS
def test_ignored_pixels_count_for_nothing(weights: list[float] | None) -> None:
    """Whatever the logits at ignored pixels are (small ones, so that none needs a shift), no bit changes."""
    logits, target = example(0)
    other = torch.where((target == IGNORE_INDEX).unsqueeze(1), 5 * torch.randn_like(logits), logits)
    assert not torch.equal(other, logits)
    loss = CrossEntropy(weights)
    for a, b in zip(total_and_gradient(loss, logits, target), total_and_gradient(loss, other, target), strict=True):
        assert torch.equal(a, b)


@OPTIONS
def test_all_ignored(weights: list[float] | None) -> None:
    logits, target = example(0, ignored=2)
    total, denominator, gradient = total_and_gradient(CrossEntropy(weights), logits, target)
    assert total == 0
    assert denominator == 0
    assert (gradient == 0).all()


@OPTIONS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision(weights: list[float] | None, dtype: torch.dtype, autocast: bool) -> None:
    """The value is that of the rounded logits in float32; only the gradient is rounded again."""
    logits, target = example(1)
    logits = logits.to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        total, denominator, gradient = total_and_gradient(CrossEntropy(weights), logits, target)
    expected_total, expected_denominator, expected_gradient = reference(logits, target, weights)
    assert total.dtype == denominator.dtype == torch.float32
    assert total.item() == pytest.approx(expected_total, rel=1e-5)
    assert denominator.item() == pytest.approx(expected_denominator, rel=1e-6)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient.float().numpy(), expected_gradient, rtol=torch.finfo(dtype).eps, atol=1e-6)


@OPTIONS
@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), seed=st.integers(0, 99), ignored=st.floats(0, 1))
def test_micro_batches_add_up(weights: list[float] | None, sizes: list[int], seed: int, ignored: float) -> None:
    """Totals over the common denominator are value and gradient of the one batch."""
    logits, target = example(seed, n=sum(sizes), ignored=ignored)
    loss = CrossEntropy(weights)
    whole_total, whole_denominator, whole_gradient = total_and_gradient(loss, logits, target)

    leaf = logits.clone().requires_grad_()
    terms = [loss(part, t) for part, t in zip(leaf.split(sizes), target.split(sizes), strict=True)]
    denominator = torch.stack([term.denominator for term in terms]).sum()
    total = torch.stack([term.total for term in terms]).sum()
    (total / denominator.where(denominator > 0, 1)).backward()

    torch.testing.assert_close(denominator, whole_denominator, rtol=1e-6, atol=0)
    torch.testing.assert_close(total.detach(), whole_total, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(leaf.grad, whole_gradient, rtol=1e-5, atol=1e-8)


@OPTIONS
def test_denominator_needs_no_logits(weights: list[float] | None) -> None:
    logits, target = example(3)
    loss = CrossEntropy(weights)
    assert torch.equal(loss.denominator(target), loss(logits, target).denominator)
