"""Distillation terms against loops in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from losses.distillation import ChannelDistillation, DistillationTerm, LogitDistillation

TERMS = pytest.mark.parametrize("kind", [LogitDistillation, ChannelDistillation])


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    return student, teacher


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """KL(teacher || student) of two lists of logits."""
    p, q = (np.exp(z / temperature) / np.exp(z / temperature).sum() for z in (teacher, student))
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_logits(temperature: float, layout: torch.memory_format) -> None:
    student, teacher = example()
    s, t = student.double().numpy(), teacher.double().numpy()
    values = [divergence(s[n, :, y, x], t[n, :, y, x], temperature) for n, y, x in np.ndindex(2, 4, 5)]  # of each pixel
    term = LogitDistillation(temperature)
    total, denominator = term(student.contiguous(memory_format=layout), teacher)
    assert denominator == term.denominator(torch.zeros(2, 4, 5)) == 40
    assert (total / denominator).item() == pytest.approx(temperature**2 * np.mean(values), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channels(temperature: float, layout: torch.memory_format) -> None:
    student, teacher = example()
    s, t = student.double().numpy(), teacher.double().numpy()
    values = [divergence(s[n, c].ravel(), t[n, c].ravel(), temperature) for n, c in np.ndindex(2, 3)]
    term = ChannelDistillation(temperature)
    total, denominator = term(student.contiguous(memory_format=layout), teacher)
    assert denominator == term.denominator(torch.zeros(2, 4, 5)) == 2
    assert (total / denominator).item() == pytest.approx(temperature**2 * np.mean(values), rel=1e-5)


@TERMS
def test_nothing_is_left_to_learn_from_an_equal(kind: type[DistillationTerm]) -> None:
    """The same logits up to what a softmax takes no notice of; the gradient is 0, too."""
    _, teacher = example()
    logits = (teacher + 5).requires_grad_()
    total, _ = kind()(logits, teacher)
    total.backward()
    assert total.item() == pytest.approx(0, abs=1e-4)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-5


@TERMS
def test_half_precision_is_computed_in_float32(kind: type[DistillationTerm]) -> None:
    student, teacher = (z.bfloat16() for z in example())
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = kind()(student, teacher)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(kind()(student.float(), teacher.float()).total.item(), rel=1e-6)


@TERMS
@pytest.mark.parametrize("temperature", [0.0, -1.0, 101.0, math.nan])
def test_temperatures_out_of_range(kind: type[DistillationTerm], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        kind(temperature)
