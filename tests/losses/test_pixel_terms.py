"""Focal loss, OHEM, Lovasz-softmax and label smoothing against loops over pixels in NumPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.boundary import BoundaryCrossEntropy
from losses.combinations import boundary, ce_iou, cross_entropy, focal, lovasz, ohem, rmi, tversky
from losses.cross_entropy import CrossEntropy, SmoothedCrossEntropy
from losses.focal import Focal
from losses.lovasz import Lovasz
from losses.ohem import OHEM
from losses.rmi import RegionMutualInformation
from losses.term import LossTerm

CLASSES = 5
WEIGHTS = [0.5, 1.0, 2.0, 3.0, 0.25]


def example(seed: int, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Logits float64 (2, 5, 6, 7) and a target without the last class."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, CLASSES, 6, 7, generator=generator, dtype=torch.float64)
    target = torch.randint(0, CLASSES - 1, (2, 6, 7), generator=generator)
    target[torch.rand(2, 6, 7, generator=generator) < ignored] = IGNORE_INDEX
    return logits, target


def pixels(logits: Tensor, target: Tensor) -> list[tuple[float, int]]:
    """(probability of the right class, class) of each valid pixel."""
    p = torch.softmax(logits, 1).numpy()
    n, h, w = target.shape
    places = [(i, y, x) for i in range(n) for y in range(h) for x in range(w) if target[i, y, x] != IGNORE_INDEX]
    return [(float(p[i, int(target[i, y, x]), y, x]), int(target[i, y, x])) for i, y, x in places]


def naive_focal(logits: Tensor, target: Tensor, gamma: float, weights: list[float]) -> float:
    found = pixels(logits, target)
    return sum(-weights[c] * (1 - p) ** gamma * math.log(p) for p, c in found) / sum(weights[c] for _, c in found)


def naive_ohem(logits: Tensor, target: Tensor, threshold: float, least: float, weights: list[float]) -> float:
    found = sorted(pixels(logits, target))
    kept = [pair for i, pair in enumerate(found) if pair[0] < threshold or i < math.ceil(least * len(found))]
    return sum(-weights[c] * math.log(p) for p, c in kept) / sum(weights[c] for _, c in kept)


def naive_lovasz(logits: Tensor, target: Tensor) -> float:
    """The Lovasz extension written out: errors in descending order, each times what it adds to 1 - IoU."""
    p, labels = torch.softmax(logits, 1).movedim(1, -1).reshape(-1, CLASSES).numpy(), target.flatten().numpy()
    p, labels = p[labels != IGNORE_INDEX], labels[labels != IGNORE_INDEX]
    losses = []
    for c in sorted(set(labels.tolist())):
        errors = np.where(labels == c, 1 - p[:, c], p[:, c])
        order = np.argsort(-errors)
        total, wrong, before = 0.0, set(), 0.0
        for i in order.tolist():
            wrong.add(i)
            own = {j for j in range(len(labels)) if labels[j] == c}
            after = len(wrong) / len(own | wrong)  # 1 - IoU if just these pixels are wrong
            total += errors[i] * (after - before)
            before = after
        losses.append(total)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal(seed: int, gamma: float, weights: list[float] | None) -> None:
    logits, target = example(seed)
    total, denominator = Focal(gamma, weights)(logits, target)
    assert float(total / denominator) == pytest.approx(naive_focal(logits, target, gamma, weights or [1] * 5), rel=1e-5)
    assert float(denominator) == pytest.approx(float(Focal(gamma, weights).denominator(target)))


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, target = example(0)
    ours, theirs = Focal(0.0)(logits, target), CrossEntropy()(logits, target)
    assert float(ours.total) == pytest.approx(float(theirs.total), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("threshold", "least"), [(0.7, 1 / 16), (0.3, 0.5), (0.01, 0.25), (1.0, 0.1)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_ohem(seed: int, threshold: float, least: float, weights: list[float] | None) -> None:
    logits, target = example(seed)
    total, denominator = OHEM(threshold, least, weights)(logits, target)
    expected = naive_ohem(logits, target, threshold, least, weights or [1] * 5)
    assert float(total / denominator) == pytest.approx(expected, rel=1e-5)


def test_ohem_keeps_no_more_than_asked_for_where_the_least_loss_is_zero() -> None:
    """898 of 900 pixels are right by a margin of 20, whose float32 loss is exactly 0; two are wrong by as much. A
    sixteenth of them is 57: their mean is 2 * 20 / 57 = 0.70, and that of all would be 0.044."""
    target = torch.zeros(1, 30, 30, dtype=torch.int64)
    logits = torch.stack([torch.full((1, 30, 30), 20.0), torch.zeros(1, 30, 30)], 1)
    logits[0, :, 3, 4], logits[0, :, 20, 8] = torch.tensor([[0.0, 20.0]] * 2)
    total, denominator = OHEM()(logits, target)
    assert float(total / denominator) == pytest.approx(40 / 57, rel=1e-6)


@pytest.mark.parametrize("valid", [1, 7, 100, 128])
@pytest.mark.parametrize("least", [1 / 16, 0.3, 1.0])
def test_ohem_keeps_exactly_the_number_asked_for_where_losses_tie(valid: int, least: float) -> None:
    """All valid pixels have the loss ln 5, and none of them is hard; those kept are those with a gradient."""
    target = torch.full((2, 8, 8), IGNORE_INDEX)
    target.view(-1)[torch.randperm(128, generator=torch.Generator().manual_seed(0))[:valid]] = 3
    logits = torch.zeros(2, CLASSES, 8, 8, requires_grad=True)
    total, denominator = OHEM(threshold=0.1, min_kept=least)(logits, target)
    (total / denominator).backward()
    assert logits.grad is not None
    kept = (logits.grad != 0).any(1)
    assert kept.sum() == math.ceil(least * valid)
    assert not (kept & (target == IGNORE_INDEX)).any()
    assert total.item() == pytest.approx(math.log(5), rel=1e-6)


def test_ohem_ignores_classes_of_weight_zero() -> None:
    """A quarter of the pixels of classes 0, 1 and 3 is kept; where there are none, there is nothing to average."""
    logits, target = example(5)
    weights = [1.0, 2.0, 0.0, 0.5, 0.0]
    term = OHEM(0.01, 0.25, weights)
    total, denominator = term(logits, target)
    counted = torch.where(target == 2, IGNORE_INDEX, target)
    assert denominator == term.denominator(target) == 1
    assert total.item() == pytest.approx(naive_ohem(logits, counted, 0.01, 0.25, weights), rel=1e-5)
    void = torch.where(target == IGNORE_INDEX, target, 2)
    total, denominator = term(logits, void)
    assert total == denominator == term.denominator(void) == 0


@pytest.mark.parametrize("seed", range(4))
def test_lovasz(seed: int) -> None:
    logits, target = example(seed)
    total, denominator = Lovasz()(logits, target)
    assert float(total / denominator) == pytest.approx(naive_lovasz(logits, target), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_label_smoothing(smoothing: float, weights: list[float] | None) -> None:
    """The target of each pixel is written out, class after class."""
    logits, target = example(3)
    log_p, given = torch.log_softmax(logits, 1).numpy(), weights or [1.0] * CLASSES
    total = denominator = 0.0
    for n, y, x in np.ndindex(*target.shape):
        label = int(target[n, y, x])
        if label != IGNORE_INDEX:
            wanted = [(1 - smoothing) * (c == label) + smoothing / CLASSES for c in range(CLASSES)]
            total -= sum(given[c] * wanted[c] * log_p[n, c, y, x] for c in range(CLASSES))
            denominator += given[label]
    term = SmoothedCrossEntropy(smoothing, weights)
    value = term(logits, target)
    assert value.total.item() == pytest.approx(total, rel=1e-5)
    assert value.denominator.item() == term.denominator(target).item() == pytest.approx(denominator)


TERMS: list[Callable[[], LossTerm]] = [
    Focal,
    OHEM,
    Lovasz,
    BoundaryCrossEntropy,
    lambda: SmoothedCrossEntropy(0.1),
    lambda: RegionMutualInformation(2, 1),
]


@pytest.mark.parametrize("build", TERMS)
def test_gradients_are_those_of_finite_differences(build: Callable[[], LossTerm]) -> None:
    logits, target = example(7)
    logits.requires_grad_()
    term = build()
    total, denominator = term(logits, target)
    (gradient,) = torch.autograd.grad(total / denominator, logits)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
        step = 0.02 * direction
        with torch.no_grad():
            after, before = term(logits + step, target), term(logits - step, target)
        slope = float(after.total / after.denominator - before.total / before.denominator) / 2
        assert float((gradient * step).sum()) == pytest.approx(slope, rel=0.05, abs=1e-4)


@pytest.mark.parametrize("build", TERMS)
def test_ignored_pixels_count_for_nothing(build: Callable[[], LossTerm]) -> None:
    logits, target = example(3)
    other = logits.clone()
    other.movedim(1, -1)[target == IGNORE_INDEX] = 50 * torch.randn(CLASSES, dtype=torch.float64)
    values = [float(term.total / term.denominator) for term in (build()(logits, target), build()(other, target))]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    other.requires_grad_()
    build()(other, target).total.backward()
    assert other.grad is not None
    assert (other.grad.movedim(1, -1)[target == IGNORE_INDEX] == 0).all()


@pytest.mark.parametrize("build", TERMS)
def test_nothing_to_learn_from_is_zero(build: Callable[[], LossTerm]) -> None:
    logits, target = example(0)
    logits.requires_grad_()
    total, denominator = build()(logits, torch.full_like(target, IGNORE_INDEX))
    total.backward()
    assert total.item() == denominator.item() == 0
    assert logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("build", TERMS)
def test_half_precision_is_computed_in_float32(build: Callable[[], LossTerm]) -> None:
    logits, target = example(2)
    with torch.autocast("cpu", torch.bfloat16):
        total, denominator = build()(logits.bfloat16(), target)
    expected = build()(logits.bfloat16().float(), target)
    assert total.dtype == torch.float32
    assert float(total / denominator) == pytest.approx(float(expected.total / expected.denominator), rel=1e-6)


def test_extreme_logits_are_finite() -> None:
    target = torch.tensor([[[0, 1]]])
    logits = torch.tensor([[[[500.0, 500.0]], [[-500.0, -500.0]]]], requires_grad=True)
    for build in TERMS:
        total, _ = build()(logits, target)
        (gradient,) = torch.autograd.grad(total, logits)
        assert total.isfinite() and gradient.isfinite().all()


def test_what_is_out_of_range_is_refused() -> None:
    smoothing = (lambda: SmoothedCrossEntropy(1.0), lambda: cross_entropy(label_smoothing=-0.1))
    for build in (lambda: Focal(-1.0), lambda: OHEM(0.0), lambda: OHEM(0.7, 0.0), lambda: OHEM(1.2), *smoothing):
        with pytest.raises(ValueError):
            build()


def test_combinations_name_their_terms() -> None:
    logits, target = example(1)
    both = {"cross_entropy": 0.5, "rmi": 0.5}
    for loss, names in (
        (focal(), ["focal"]),
        (ohem(), ["ohem"]),
        (lovasz(), ["lovasz"]),
        (tversky(), ["tversky"]),
        (boundary(), ["boundary"]),
        (rmi(both), ["cross_entropy", "rmi"]),
        (ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}, label_smoothing=0.1), ["cross_entropy", "soft_iou"]),
    ):
        assert list(loss.named_terms(logits, target)) == names
