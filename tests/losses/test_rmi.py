"""Region mutual information against NumPy, with loops over regions."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from data.labels import IGNORE_INDEX
from losses.rmi import RegionMutualInformation
from tests.losses.examples import CLASSES, example


def regions(image: np.ndarray, radius: int, pooling: int) -> np.ndarray:
    """One map (H, W) -> the pixels of each region of the pooled map, (regions, radius^2)."""
    height, width = image.shape[0] // pooling, image.shape[1] // pooling
    pooled = np.array(
        [
            [image[y * pooling : (y + 1) * pooling, x * pooling : (x + 1) * pooling].mean() for x in range(width)]
            for y in range(height)
        ]
    )
    return np.array(
        [
            pooled[y : y + radius, x : x + radius].ravel()
            for y in range(height - radius + 1)
            for x in range(width - radius + 1)
        ]
    )


def reference(logits: Tensor, target: Tensor, radius: int, pooling: int) -> list[float]:
    """The value of each image with a labelled pixel, from np.cov, np.linalg.inv and np.linalg.slogdet."""
    p = torch.softmax(logits.double(), 1).numpy()
    values = []
    for image, mask in zip(p, target.numpy(), strict=True):
        if (mask == IGNORE_INDEX).all():
            continue
        value = 0.0
        for c in range(CLASSES):
            y = regions((mask == c).astype(float), radius, pooling)
            x = regions(np.where(mask == IGNORE_INDEX, 0, image[c]), radius, pooling)
            side = radius**2
            both = len(y) * np.cov(np.hstack([y, x]).T, bias=True)
            both += 5e-4 * np.eye(2 * side)
            within, crossed, around = both[:side, :side], both[:side, side:], both[side:, side:]
            value += np.linalg.slogdet(within - crossed @ np.linalg.inv(around) @ crossed.T)[1] / (2 * side)
        values.append(value)
    return values


@pytest.mark.parametrize(("radius", "pooling", "size"), [(3, 4, (31, 42)), (2, 1, (9, 7)), (3, 2, (12, 13))])
def test_value(radius: int, pooling: int, size: tuple[int, int]) -> None:
    logits, target = example(1, 3, *size)
    target[1] = IGNORE_INDEX
    term = RegionMutualInformation(radius, pooling)
    expected = reference(logits, target, radius, pooling)
    value = term(logits, target)
    assert value.total.item() == pytest.approx(sum(expected), rel=1e-4)
    assert value.denominator.item() == term.denominator(target).item() == len(expected) == 2


def test_it_is_lower_for_a_better_prediction_of_the_regions() -> None:
    _, target = example(2, 2, 48, 48, ignored=0.1)
    truth = torch.nn.functional.one_hot(target.where(target != IGNORE_INDEX, 0), CLASSES).movedim(-1, 1).float()
    term = RegionMutualInformation()
    values = [term(scale * truth, target).total.item() for scale in (0.1, 1.0, 10.0)]
    assert values == sorted(values, reverse=True)


def test_the_least_value() -> None:
    """Of a class without pixels only the diagonal is left: 9 log(5e-4) / 18 for each of the classes."""
    target = torch.zeros(1, 32, 32, dtype=torch.int64)  # one class everywhere: no variance, either
    value = RegionMutualInformation()(torch.zeros(1, CLASSES, 32, 32), target)
    assert value.total.item() == pytest.approx(CLASSES * math.log(5e-4) / 2, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits, target = example(3, 2, 24, 24)
    logits = logits.double().requires_grad_()
    term = RegionMutualInformation()
    (gradient,) = torch.autograd.grad(term(logits, target).total, logits)
    assert not gradient.movedim(1, -1)[target == IGNORE_INDEX].any()
    step = 0.01 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        slope = (term(logits + step, target).total - term(logits - step, target).total).item() / 2
    assert (gradient * step).sum().item() == pytest.approx(slope, rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (11, 11)])
def test_images_smaller_than_a_region(size: tuple[int, int]) -> None:
    logits, target = example(0, 2, *size, ignored=0.0)
    logits.requires_grad_()
    value = RegionMutualInformation()(logits, target)
    value.total.backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and value.total.isfinite()


@pytest.mark.parametrize(("radius", "pooling"), [(0, 4), (10, 4), (3, 0), (3, 65)])
def test_options_out_of_range(radius: int, pooling: int) -> None:
    with pytest.raises(ValueError, match="must be from"):
        RegionMutualInformation(radius, pooling)
