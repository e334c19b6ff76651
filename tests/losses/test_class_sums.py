from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.class_sums import class_sums
from tests.losses.examples import CLASSES, example

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def expected_sums(logits: Tensor, target: Tensor) -> list[Tensor]:
    """The sums in float64, with softmax and a one-hot target."""
    valid = target != IGNORE_INDEX
    log_p = logits.log_softmax(1).movedim(1, -1)[valid]
    truth = F.one_hot(target[valid], CLASSES)
    p = log_p.exp()
    return [-(log_p * truth).sum(0), (p * truth).sum(0), p.sum(0), truth.sum(0)]


@LAYOUTS
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("offset", [0, 39, -60, 3000])
def test_sums_and_gradient(offset: float, n: int, layout: torch.memory_format) -> None:
    """Small and large logits are computed in different ways; a common offset changes no probability."""
    logits, target = example(1, n)
    generator = torch.Generator().manual_seed(0)
    logits = (logits + offset).round(decimals=2).contiguous(memory_format=layout).requires_grad_()
    reference = logits.detach().double().requires_grad_()
    found, expected = class_sums(logits, target), expected_sums(reference, target)
    weights = torch.randn(3, CLASSES, generator=generator)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-4)
    for sums in (found, expected):
        torch.stack([(w * s).sum() for w, s in zip(weights, list(sums)[:3], strict=True)]).sum().backward()
    assert logits.grad is not None and reference.grad is not None
    torch.testing.assert_close(logits.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)
    assert logits.grad.is_contiguous(memory_format=layout)


@LAYOUTS
def test_sums_over_many_pixels(layout: torch.memory_format) -> None:
    """A float32 sum to which half a million numbers are added one after another is wrong by more."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, CLASSES, 512, 1024, generator=generator).contiguous(memory_format=layout)
    target = torch.randint(CLASSES, (1, 512, 1024), generator=generator)
    for found, expected in zip(class_sums(logits, target), expected_sums(logits.double(), target), strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=2e-6, atol=0)


@LAYOUTS
def test_large_logits_of_ignored_pixels_count_for_nothing(layout: torch.memory_format) -> None:
    logits, target = example(2)
    other = logits.clone()
    other.movedim(1, -1)[target == IGNORE_INDEX] = torch.linspace(-900, 900, CLASSES)
    sums = [class_sums(x.contiguous(memory_format=layout), target) for x in (logits, other)]
    for a, b in zip(*sums, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@LAYOUTS
def test_a_target_that_is_a_view(layout: torch.memory_format) -> None:
    logits, target = example(1, 3)
    logits, view = logits.contiguous(memory_format=layout), target.mT.contiguous().mT
    assert not view.is_contiguous()
    for found, expected in zip(class_sums(logits, view), expected_sums(logits.double(), target), strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-4)
