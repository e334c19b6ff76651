import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from evaluation.boundary import boundary_counts, boundary_iou, near_outlines
from evaluation.calibration import BINS, calibration_counts, calibration_error
from evaluation.details import Details

RNG = np.random.default_rng(0)


def test_calibration_error_agrees_with_a_loop_over_pixels() -> None:
    counts = torch.zeros(3, BINS, dtype=torch.float64)
    pixels = []
    for _ in range(3):
        logits = torch.from_numpy(RNG.normal(size=(4, 9, 11)).astype(np.float32) * 2)
        truth = torch.from_numpy(RNG.choice([0, 1, 2, 3, 255], (9, 11)).astype(np.uint8))
        counts += calibration_counts(logits, truth)
        said = np.exp(logits.double().numpy())
        said /= said.sum(0)
        for y in range(9):
            for x in range(11):
                if truth[y, x] != 255:
                    pixels.append((said[:, y, x].max(), said[:, y, x].argmax() == int(truth[y, x])))
    error = 0.0
    for i in range(BINS):
        inside = [(confidence, right) for confidence, right in pixels if i / BINS < confidence <= (i + 1) / BINS]
        if inside:
            confidence, right = np.mean([c for c, _ in inside]), np.mean([r for _, r in inside])
            error += len(inside) / len(pixels) * abs(confidence - right)
            assert counts[:, i].tolist() == pytest.approx(len(inside) * np.array([1, right, confidence]), rel=1e-6)
    assert calibration_error(counts) == pytest.approx(error, abs=1e-6)


def test_a_network_that_is_always_right_and_sure_has_no_error() -> None:
    truth = torch.tensor([[0, 1], [1, 255]], dtype=torch.uint8)
    counts = calibration_counts(torch.stack([truth == 0, truth == 1]).float() * 100, truth)
    assert calibration_error(counts) == pytest.approx(0, abs=1e-6)
    assert counts[0].tolist() == [0.0] * 14 + [3.0]


def test_outlines_agree_with_erosions_class_by_class() -> None:
    """As the paper has it: the region without its erosion by a square, with nothing outside of the picture."""
    mask = np.kron(RNG.integers(0, 3, (8, 10)), np.ones((20, 15))).astype(np.uint8)
    distance = max(round(0.02 * np.hypot(*mask.shape)), 1)
    expected = np.zeros(mask.shape, bool)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            inside = mask[max(y - distance, 0) : y + distance + 1, max(x - distance, 0) : x + distance + 1]
            whole = inside.shape == (2 * distance + 1, 2 * distance + 1)
            expected[y, x] = not (whole and (inside == mask[y, x]).all())
    assert distance > 1
    np.testing.assert_array_equal(near_outlines(mask), expected)


def test_boundary_iou_adds_up_over_samples() -> None:
    counts = np.zeros((3, 3), np.int64)
    there, said = [], []
    for _ in range(2):
        truth = np.kron(RNG.integers(0, 3, (4, 5)), np.ones((12, 12))).astype(np.uint8)
        prediction = np.roll(truth, 2, axis=1)
        truth[:5, :7] = 255
        valid = truth != 255
        near, close = near_outlines(truth) & valid, near_outlines(np.where(valid, prediction, 255)) & valid
        counts += boundary_counts(prediction, truth, classes=3)
        for c in range(3):
            there.append((c, ((truth == c) & near).ravel()))
            said.append(((prediction == c) & close).ravel())
    for c in range(3):
        mine = [i for i, (which, _) in enumerate(there) if which == c]
        expected = jaccard_score(np.concatenate([there[i][1] for i in mine]), np.concatenate([said[i] for i in mine]))
        assert boundary_iou(counts)[c] == pytest.approx(expected)
    assert (boundary_iou(counts) < 0.95).all()


def test_a_mask_that_is_right_has_boundary_iou_one_and_an_absent_class_none() -> None:
    truth = np.kron(RNG.integers(0, 3, (4, 5)), np.ones((12, 12))).astype(np.uint8)
    iou = boundary_iou(boundary_counts(truth, truth, classes=4))
    assert iou[:3].tolist() == [1, 1, 1] and np.isnan(iou[3])


def test_samples_are_scored_one_by_one() -> None:
    details = Details(2)
    truths = [
        np.array([[0, 1], [1, 255]], np.uint8),
        np.full((2, 2), 255, np.uint8),
        np.array([[0, 0], [1, 1]], np.uint8),
    ]
    for i, truth in enumerate(truths):
        logits = torch.tensor([[2.0, 0.0]] * 4).T.reshape(2, 2, 2) * (1 if i == 0 else -1)
        details.add(i, logits.argmax(0), torch.from_numpy(truth), logits)
    first = details.samples[0]  # all is said to be class 0: 1 of 3 right, IoU 1/3 and 0
    assert first.pixel_accuracy == pytest.approx(1 / 3) and first.miou == pytest.approx(1 / 6)
    assert first.confidence == pytest.approx(np.exp(2) / (np.exp(2) + 1), abs=1e-6)
    assert [sample.number for sample in details.worst_first()] == [0, 2, 1]
    assert np.isnan(details.samples[1].miou) and np.isnan(details.samples[1].confidence)
