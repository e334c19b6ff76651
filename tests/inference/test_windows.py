import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.windows import STRIP, bands, starts, strips

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


def scores(images: Tensor) -> Tensor:
    """Logits of two classes that depend on the pixel and on its place in the window."""
    values = images.float().mean(1) / 100
    rows = torch.arange(images.shape[2])[:, None] / 10
    return torch.stack([values + rows, -values], 1)


def whole(image: np.ndarray, window: tuple[int, int], overlap: float, batch: int = 4, strip: int = STRIP) -> np.ndarray:
    found = np.full((2, *image.shape[:2]), np.nan, np.float32)
    for rows, columns, part in bands(image, scores, window, overlap, batch=batch, strip=strip):
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
    """In a fresh process: the memory besides the photo, while a band is out.

    Only anonymous memory is counted: pages of libraries come and go as Linux likes.
    """
    code = """
import numpy as np
from inference.windows import bands
from utils.memory import memory
for height, width in ((256, 512), (256, 16384), (16384, 256)):
    image, most = np.ones((height, width, 3), np.uint8), 0
    before = memory("RssAnon")
    for _ in bands(image, lambda x: x.float(), (128, 128), 0.0, strip=512):
        most = max(most, memory("RssAnon"))
    print(most - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    _, wide, tall = map(int, done.stdout.split())  # the first: once for all, such as buffers of PyTorch
    all_scores = 256 * 16384 * (3 + 1) * 4  # 67 MB
    assert wide < all_scores / 3 and tall < all_scores / 3


def test_a_network_of_one_size_has_small_photos_continued() -> None:
    image = RNG.integers(0, 256, (40, 33, 3), np.uint8)
    sizes = []

    def noted(images: Tensor) -> Tensor:
        sizes.append(tuple(images.shape[2:]))
        return scores(images)

    (part,) = (part for _, _, part in bands(image, noted, (64, 48), 0.25, least=(64, 48)))
    assert sizes == [(64, 48)] and part.shape == (2, 40, 33)
    padded = np.pad(image, ((0, 24), (0, 15), (0, 0)), mode="edge")
    np.testing.assert_allclose(part.numpy(), reference(padded, (64, 48), 0.25)[:, :40, :33], atol=1e-5)


def test_starts_by_hand() -> None:
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 3) == [0] and starts(3, 4, 3) == [0]
    assert strips(100, 40) == [(0, 33), (33, 67), (67, 100)]
