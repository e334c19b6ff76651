import numpy as np
import pytest
import torch
from torch import Tensor

from engine.windows import bands, starts, strips

RNG = np.random.default_rng(0)


def scores(images: Tensor) -> Tensor:
    """Logits of two classes that depend on the pixel and on its place in the window."""
    values = images.float().mean(1) / 100
    rows = torch.arange(images.shape[2])[:, None] / 10
    return torch.stack([values + rows, -values], 1)


def whole(image: np.ndarray, window: tuple[int, int], overlap: float, **settings: int) -> np.ndarray:
    found = np.full((2, *image.shape[:2]), np.nan, np.float32)
    for rows, columns, part in bands(image, scores, window, overlap, **settings):
        assert np.isnan(found[:, rows, columns]).all()  # each pixel once
        found[:, rows, columns] = part.numpy()
    return found


def reference(image: np.ndarray, window: tuple[int, int], overlap: float) -> np.ndarray:
    """The weighted mean, window by window and pixel by pixel, in float64."""
    height, width = image.shape[:2]
    tall, wide = min(window[0], max(height, 32)), min(window[1], max(width, 32))
    padded = np.pad(image, ((0, max(tall - height, 0)), (0, max(wide - width, 0)), (0, 0)), mode="edge")
    total, weights = np.zeros((2, *padded.shape[:2])), np.zeros(padded.shape[:2])
    for y in [*range(0, padded.shape[0] - tall, round(tall * (1 - overlap))), padded.shape[0] - tall]:
        for x in [*range(0, padded.shape[1] - wide, round(wide * (1 - overlap))), padded.shape[1] - wide]:
            crop = torch.from_numpy(padded[y : y + tall, x : x + wide].transpose(2, 0, 1).copy())[None]
            logits = scores(crop)[0].double().numpy()
            probabilities = np.exp(logits) / np.exp(logits).sum(0)
            for i in range(tall):
                for j in range(wide):
                    weight = min(i + 1, tall - i) * min(j + 1, wide - j)  # distance to the nearest side
                    total[:, y + i, x + j] += weight * probabilities[:, i, j]
                    weights[y + i, x + j] += weight
    return (total / weights)[:, :height, :width]


@pytest.mark.parametrize(
    ("size", "window", "overlap"),
    [
        ((70, 90), (32, 40), 0.25),
        ((70, 90), (33, 41), 0.5),
        ((64, 80), (32, 40), 0.0),
        ((32, 40), (32, 40), 0.25),
        ((20, 100), (64, 48), 0.3),
        ((1, 1), (64, 48), 0.3),
    ],
)
def test_agrees_with_a_loop_over_windows(size: tuple[int, int], window: tuple[int, int], overlap: float) -> None:
    image = RNG.integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_allclose(whole(image, window, overlap), reference(image, window, overlap), atol=1e-5)


@pytest.mark.parametrize("strip", [23, 40, 64])
@pytest.mark.parametrize("batch", [1, 3])
def test_strips_and_batches_change_nothing(strip: int, batch: int) -> None:
    image = RNG.integers(0, 256, (70, 150, 3), np.uint8)
    one = whole(image, (32, 40), 0.3, strip=1000, batch=100)
    np.testing.assert_allclose(whole(image, (32, 40), 0.3, strip=strip, batch=batch), one, atol=1e-6)


def test_what_is_held_does_not_grow_with_the_photo() -> None:
    """The parts that are given out are no larger than a window's height and a strip's width."""
    image = np.zeros((400, 1000, 3), np.uint8)
    shapes = [tuple(part.shape) for _, _, part in bands(image, scores, (64, 64), 0.25, strip=200)]
    assert max(rows for _, rows, _ in shapes) <= 64 and max(columns for _, _, columns in shapes) == 200


def test_starts_by_hand() -> None:
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 3) == [0] and starts(3, 4, 3) == [0]
    assert strips(100, 40) == [(0, 33), (33, 67), (67, 100)]
