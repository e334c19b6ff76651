"""Dilated depthwise convolutions, against a convolution written as a sum over its taps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.profiler import profile
from torch.nn import functional as F

from models.depthwise import DilatedDepthwise


def by_taps(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Return the sum of the shifted maps, each times one weight per channel."""
    size, (height, width) = weight.shape[-1], x.shape[-2:]
    around = dilation * (size // 2)
    padded = F.pad(x, (around, around, around, around))
    found = torch.zeros_like(x) if bias is None else torch.zeros_like(x) + bias[:, None, None]
    for i, j in torch.cartesian_prod(torch.arange(size), torch.arange(size)).tolist():
        shifted = padded[..., i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        found = found + weight[:, 0, i, j, None, None] * shifted
    return found


@pytest.mark.parametrize(
    ("size", "dilation", "kernel_size", "bias"),
    [
        ((12, 16), 4, 3, False),
        ((13, 18), 4, 3, True),  # multiples of the dilation in neither direction
        ((9, 8), 2, 5, False),
        ((8, 40), 4, 3, False),  # too few rows for that form
        ((1, 1), 2, 3, True),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_sum_over_taps(
    size: tuple[int, int], dilation: int, kernel_size: int, bias: bool, layout: torch.memory_format
) -> None:
    conv = DilatedDepthwise(3, kernel_size, dilation, bias=bias).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    found = conv(x)
    given = [p.detach().clone().requires_grad_() for p in (x, *conv.parameters())]
    expected = by_taps(given[0], given[1], given[2] if bias else None, dilation)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(found)
    gradients = torch.autograd.grad(found, (x, *conv.parameters()), gradient)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, given, gradient))
    assert found.is_contiguous(memory_format=layout)


def test_training_computes_no_dilated_convolution_on_channels_last_maps() -> None:
    conv = DilatedDepthwise(4, 3, 2)
    x = torch.randn(2, 4, 8, 12).contiguous(memory_format=torch.channels_last)

    def shapes() -> list[list[int]]:
        with profile(record_shapes=True) as events:
            conv(x)
        return [event.input_shapes[0] for event in events.function_events if event.name == "aten::conv2d"]

    assert shapes() == [[4, 8, 4, 6]]  # 2 images of 2 phases of rows, 4 channels of 2 phases of columns
    conv.eval()
    assert shapes() == [[2, 4, 8, 12]]
