from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.overlap import SoftDice, SoftIoU, Tversky
from tests.losses.examples import example, total_and_gradient

Overlap = SoftIoU | SoftDice
Counted = Literal["present", "all"]

LOSSES = pytest.mark.parametrize("kind", [SoftIoU, SoftDice])
OPTIONS = pytest.mark.parametrize("classes", ["present", "all"])


def reference(logits: Tensor, target: Tensor, kind: type[Overlap], classes: Counted) -> float:
    """The loss in NumPy and float64, class after class."""
    z, t = logits.detach().double().numpy(), target.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    valid = t != IGNORE_INDEX
    losses = []
    for c in range(z.shape[1]):
        probability, truth = p[:, c][valid], t[valid] == c
        if not valid.any() or (classes == "present" and not truth.any()):
            continue
        intersection, total = probability[truth].sum(), probability.sum() + truth.sum()
        score = intersection / (total - intersection) if kind is SoftIoU else 2 * intersection / total
        losses.append(1 - score)
    return float(np.mean(losses)) if losses else 0.0


def reference_gradient(logits: Tensor, target: Tensor, kind: type[Overlap], classes: Counted) -> Tensor:
    """The gradient by autograd, in float64, through softmax and one-hot."""
    leaf = logits.detach().double().requires_grad_()
    valid = target != IGNORE_INDEX
    truth = F.one_hot(target[valid], logits.shape[1]).double()
    p = leaf.softmax(1).movedim(1, -1)[valid]
    intersection, total = (p * truth).sum(0), (p + truth).sum(0)
    score = intersection / (total - intersection) if kind is SoftIoU else 2 * intersection / total
    counted = truth.sum(0) > 0 if classes == "present" else torch.ones(logits.shape[1], dtype=torch.bool)
    (1 - score)[counted].mean().backward()
    assert leaf.grad is not None
    return leaf.grad


def value_and_gradient(term: Overlap, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    total, denominator, gradient = total_and_gradient(term, logits, target)
    assert denominator == term.denominator(target) == float((target != IGNORE_INDEX).any())
    return total, gradient


@LOSSES
@OPTIONS
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), n=st.integers(1, 3), ignored=st.floats(0, 0.9))
def test_value_and_gradient(
    kind: type[Overlap], classes: Counted, layout: torch.memory_format, seed: int, n: int, ignored: float
) -> None:
    logits, target = example(seed, n, ignored=ignored)
    target[0, 0, 0] = 1  # never nothing but ignored pixels
    value, gradient = value_and_gradient(kind(classes), logits.contiguous(memory_format=layout), target)
    assert value.item() == pytest.approx(reference(logits, target, kind, classes), rel=1e-5, abs=1e-6)
    expected = reference_gradient(logits, target, kind, classes)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-7)


@LOSSES
def test_gradient_is_the_slope(kind: type[Overlap]) -> None:
    """Central differences of the NumPy loss, for some logits: independent of any autograd."""
    logits, target = example(5)
    _, gradient = value_and_gradient(kind(), logits, target)
    for at in [(0, 1, 2, 3), (1, 4, 0, 0), (0, 0, 6, 4), (1, 2, 3, 1)]:
        above, below = logits.double(), logits.double()
        above[at] += 1e-5
        below[at] -= 1e-5
        slope = (reference(above, target, kind, "present") - reference(below, target, kind, "present")) / 2e-5
        assert gradient[at].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "classes", "expected"),
    [
        # Probabilities of the two valid pixels: (1/2, 1/4, 1/4) in class 0, (1/4, 3/4, 0) in class 1.
        (SoftIoU, "present", 1 - (0.5 / 1.25 + 0.75 / 1.25) / 2),
        (SoftIoU, "all", 1 - (0.5 / 1.25 + 0.75 / 1.25 + 0) / 3),
        (SoftDice, "present", 1 - (1 / 1.75 + 1.5 / 2) / 2),
        (SoftDice, "all", 1 - (1 / 1.75 + 1.5 / 2 + 0) / 3),
    ],
)
def test_hand_worked(kind: type[Overlap], classes: Counted, expected: float) -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.75, 1e-30], [0.1, 0.1, 0.8]])
    logits = probabilities.log().T.reshape(1, 3, 1, 3)
    value, _ = value_and_gradient(kind(classes), logits, torch.tensor([[[0, 1, IGNORE_INDEX]]]))
    assert value.item() == pytest.approx(expected, rel=1e-6)


@LOSSES
@OPTIONS
def test_ignored_pixels_count_for_nothing(kind: type[Overlap], classes: Counted) -> None:
    """Whatever the logits at ignored pixels are (small ones, so that none needs a shift), no bit changes."""
    logits, target = example(0)
    ignored = target == IGNORE_INDEX
    other = torch.where(ignored.unsqueeze(1), 5 * torch.randn_like(logits), logits)
    assert not torch.equal(other, logits)
    value, gradient = value_and_gradient(kind(classes), logits, target)
    other_value, other_gradient = value_and_gradient(kind(classes), other, target)
    assert torch.equal(value, other_value)
    assert torch.equal(gradient, other_gradient)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()
    assert (gradient.movedim(1, -1)[~ignored] != 0).any()


@LOSSES
@OPTIONS
def test_all_ignored(kind: type[Overlap], classes: Counted) -> None:
    logits, target = example(0, ignored=2)
    value, gradient = value_and_gradient(kind(classes), logits, target)
    assert value == 0
    assert (gradient == 0).all()


@LOSSES
@OPTIONS
def test_confident_logits(kind: type[Overlap], classes: Counted) -> None:
    """Probabilities of exactly 0 and 1: a right answer costs nothing, and nothing overflows."""
    target = torch.tensor([[[0, 1], [IGNORE_INDEX, 3]]])
    right = 1e4 * F.one_hot(target % IGNORE_INDEX, 4).movedim(-1, 1).float()
    value, gradient = value_and_gradient(kind(classes), right, target)
    # Class 2 is absent and never predicted; counted, its overlap is 0.
    assert value.item() == pytest.approx(0 if classes == "present" else 1 / 4)
    assert gradient.isfinite().all()
    value, gradient = value_and_gradient(kind("present"), -right, target)
    assert value.item() == pytest.approx(1)
    assert gradient.isfinite().all()


@LOSSES
@OPTIONS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision(kind: type[Overlap], classes: Counted, dtype: torch.dtype, autocast: bool) -> None:
    """The value is that of the rounded logits in float32; only the gradient is rounded again."""
    logits, target = example(1)
    logits = logits.to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value, gradient = value_and_gradient(kind(classes), logits, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(reference(logits, target, kind, classes), rel=1e-5)
    assert gradient.dtype == dtype
    expected = reference_gradient(logits, target, kind, classes)
    torch.testing.assert_close(gradient.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


@LOSSES
@OPTIONS
def test_scaled_gradient(kind: type[Overlap], classes: Counted) -> None:
    """A gradient scaler and term weights multiply the loss: the written-out gradient must follow."""
    logits, target = example(2)
    leaf = logits.clone().requires_grad_()
    (1024 * kind(classes)(leaf, target).total).backward()
    expected = 1024 * reference_gradient(logits, target, kind, classes)
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad.double(), expected, rtol=1e-4, atol=1e-4)


@LOSSES
def test_unknown_option(kind: type[Overlap]) -> None:
    with pytest.raises(ValueError, match="'present' or 'all', not 'some'"):
        kind("some")  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [1.0, 4 / 3, 0.5])
@OPTIONS
def test_tversky(gamma: float, classes: Counted) -> None:
    """Loops over pixels and classes, with a pixel given to each class as far as its probability goes."""
    logits, target = example(6)
    p, t = logits.double().softmax(1).numpy(), target.numpy()
    losses = []
    for c in range(p.shape[1]):
        right = false = missed = 0.0
        for n, y, x in np.ndindex(*t.shape):
            if t[n, y, x] == c:
                right, missed = right + p[n, c, y, x], missed + 1 - p[n, c, y, x]
            elif t[n, y, x] != IGNORE_INDEX:
                false += p[n, c, y, x]
        if right or classes == "all":
            losses.append((1 - right / (right + 0.2 * false + 0.6 * missed)) ** (1 / gamma))
    total, _, gradient = total_and_gradient(Tversky(0.2, 0.6, gamma, classes), logits, target)
    assert total.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("weights", "kind"), [((0.5, 0.5), SoftDice), ((1.0, 1.0), SoftIoU)])
def test_tversky_with_equal_weights(weights: tuple[float, float], kind: type[Overlap]) -> None:
    logits, target = example(7)
    ours, theirs = (total_and_gradient(term, logits, target) for term in (Tversky(*weights), kind()))
    torch.testing.assert_close(ours, theirs)


def test_focal_tversky_has_a_gradient_at_a_perfect_overlap() -> None:
    logits = torch.tensor([[[[1e4]], [[0.0]]]])
    _, _, gradient = total_and_gradient(Tversky(gamma=4 / 3), logits, torch.tensor([[[0]]]))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("options", [(-1.0, 0.5), (0.0, 0.0), (float("nan"), 1.0), (0.3, 0.7, 0.0), (0.3, 0.7, 11.0)])
def test_tversky_options_out_of_range(options: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        Tversky(*options)  # type: ignore[arg-type]
