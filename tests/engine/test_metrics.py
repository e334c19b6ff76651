from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from data.labels import IGNORE_INDEX
from engine.metrics import add_to_confusion, scores

CLASSES = 6
DTYPES = pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])


def example(seed: int, shape: tuple[int, ...] = (3, 11, 7), classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """A prediction that is right at about half the pixels, and a target with some ignored ones."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, shape, generator=generator)
    wrong = torch.randint(classes, shape, generator=generator)
    prediction = torch.where(torch.rand(shape, generator=generator) < 0.5, target, wrong)
    target[torch.rand(shape, generator=generator) < 0.2] = IGNORE_INDEX
    return prediction, target


def confusion_of(prediction: Tensor, target: Tensor, classes: int = CLASSES) -> Tensor:
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    add_to_confusion(confusion, prediction, target)
    return confusion


def counted_one_by_one(prediction: Tensor, target: Tensor, classes: int = CLASSES) -> np.ndarray:
    counts = np.zeros((classes, classes), np.int64)
    for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        if t != IGNORE_INDEX:
            counts[t, p] += 1
    return counts


@DTYPES
@pytest.mark.parametrize("shape", [(100,), (13, 9), (3, 11, 7), (2, 1, 5, 4)])
def test_counts(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    prediction, target = example(0, shape)
    confusion = confusion_of(prediction.to(dtype), target.to(dtype))
    np.testing.assert_array_equal(confusion, counted_one_by_one(prediction, target))
    valid = target != IGNORE_INDEX
    np.testing.assert_array_equal(
        confusion, sklearn_metrics.confusion_matrix(target[valid], prediction[valid], labels=range(CLASSES))
    )


@DTYPES
@pytest.mark.parametrize("classes", [1, 2, 254, 255])
def test_number_of_classes(dtype: torch.dtype, classes: int) -> None:
    """Up to the 255 that a mask of 8 bits holds beside the ignored value."""
    prediction, target = example(1, classes=classes)
    confusion = confusion_of(prediction.to(dtype), target.to(dtype), classes)
    np.testing.assert_array_equal(confusion, counted_one_by_one(prediction, target, classes))


@DTYPES
def test_ignored_pixels_do_not_count(dtype: torch.dtype) -> None:
    prediction, target = example(2)
    confusion = confusion_of(prediction, torch.full_like(target, IGNORE_INDEX).to(dtype))
    assert not confusion.any()


def test_strided_tensors() -> None:
    prediction, target = example(3)
    confusion = confusion_of(prediction.transpose(0, 2), target.transpose(0, 2))
    np.testing.assert_array_equal(confusion, counted_one_by_one(prediction, target))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_counts_on_a_gpu() -> None:
    prediction, target = example(4)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64, device="cuda")
    add_to_confusion(confusion, prediction.cuda(), target.cuda())
    np.testing.assert_array_equal(confusion.cpu(), counted_one_by_one(prediction, target))


@settings(deadline=None)
@given(seed=st.integers(0, 999), order=st.permutations(range(8)), sizes=st.lists(st.integers(1, 5), max_size=8))
def test_order_and_batches_change_nothing(seed: int, order: list[int], sizes: list[int]) -> None:
    """Pictures in any order, in batches of any size: the same counts, and the same scores to the last bit."""
    prediction, target = example(seed, (8, 5, 5))
    whole = confusion_of(prediction, target)
    parts = torch.zeros_like(whole)
    rest = list(order)
    for size in [*sizes, len(order)]:
        batch, rest = rest[:size], rest[size:]
        add_to_confusion(parts, prediction[batch], target[batch])
    assert torch.equal(parts, whole)
    for a, b in zip(scores(parts), scores(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_hand_worked_scores() -> None:
    found = scores(torch.tensor([[5, 1, 0], [2, 3, 1], [0, 0, 4]]))
    np.testing.assert_allclose(found.iou, [5 / 8, 3 / 7, 4 / 5])
    np.testing.assert_allclose(found.dice, [10 / 13, 6 / 10, 8 / 9])
    np.testing.assert_allclose(found.accuracy, [5 / 6, 3 / 6, 4 / 4])
    assert found.miou == pytest.approx((5 / 8 + 3 / 7 + 4 / 5) / 3)
    assert found.mean_dice == pytest.approx((10 / 13 + 6 / 10 + 8 / 9) / 3)
    assert found.pixel_accuracy == pytest.approx(12 / 16)
    assert found.mean_accuracy == pytest.approx((5 / 6 + 3 / 6 + 1) / 3)
    assert found.frequency_weighted_iou == pytest.approx((6 * 5 / 8 + 6 * 3 / 7 + 4 * 4 / 5) / 16)


def test_absent_classes() -> None:
    """Class 1 is neither present nor predicted: left out of every mean. Class 2 is predicted only: its IoU is 0."""
    found = scores(torch.tensor([[6, 0, 2], [0, 0, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(found.iou, [6 / 8, math.nan, 0])
    np.testing.assert_array_equal(found.dice, [12 / 14, math.nan, 0])
    np.testing.assert_array_equal(found.accuracy, [6 / 8, math.nan, math.nan])
    assert found.miou == pytest.approx((6 / 8 + 0) / 2)
    assert found.mean_dice == pytest.approx((12 / 14 + 0) / 2)
    assert found.mean_accuracy == pytest.approx(6 / 8)
    assert found.frequency_weighted_iou == pytest.approx(6 / 8)


def test_nothing_counted() -> None:
    for value in scores(torch.zeros(3, 3, dtype=torch.int64)):
        assert torch.as_tensor(value).isnan().all()


def test_counts_beyond_float32() -> None:
    """A large split has more than 2^24 pixels of a class."""
    found = scores(torch.tensor([[2**40 + 1, 1], [0, 1]]))
    assert found.pixel_accuracy == (2**40 + 2) / (2**40 + 3)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("absent", [(), (2,), (0, 5)])
def test_scores_equal_scikit_learn(seed: int, absent: tuple[int, ...]) -> None:
    prediction, target = example(seed)
    for c in absent:
        target[target == c] = 1
    prediction[prediction == 5] = 4
    found = scores(confusion_of(prediction, target))
    valid = target != IGNORE_INDEX
    truth, predicted = target[valid].numpy(), prediction[valid].numpy()
    known = sorted({*truth.tolist(), *predicted.tolist()})
    np.testing.assert_allclose(
        found.iou[known], sklearn_metrics.jaccard_score(truth, predicted, labels=known, average=None)
    )
    np.testing.assert_allclose(
        found.dice[known], sklearn_metrics.f1_score(truth, predicted, labels=known, average=None)
    )
    assert found.miou == pytest.approx(sklearn_metrics.jaccard_score(truth, predicted, average="macro"))
    assert found.mean_dice == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    assert found.pixel_accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert found.pixel_accuracy == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="micro"))
    assert found.mean_accuracy == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, predicted))
    assert found.frequency_weighted_iou == pytest.approx(
        sklearn_metrics.jaccard_score(truth, predicted, average="weighted")
    )
