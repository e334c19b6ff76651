from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.layers import MaxUnpool, pad_to_even

SIZES = pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 11), (1, 1), (33, 2)], ids=lambda s: f"{s[0]}x{s[1]}")


def pooled(size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """A map, its 2x2 maxima and where they were."""
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    return x, *nn.MaxPool2d(2, ceil_mode=True, return_indices=True)(x)


@SIZES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_equals_that_of_torch(size: tuple[int, int], dtype: torch.dtype, layout: torch.memory_format) -> None:
    _, _, indices = pooled(size)
    x = torch.randn(indices.shape).to(dtype).contiguous(memory_format=layout)
    found = MaxUnpool()(x, indices.contiguous(memory_format=layout), size)
    expected = nn.MaxUnpool2d(2)(x.contiguous(), indices, output_size=list(size))
    assert found.dtype == dtype
    assert torch.equal(found, expected)


@SIZES
def test_unpooling_gradient_equals_that_of_torch(size: tuple[int, int]) -> None:
    _, _, indices = pooled(size)
    ours, theirs = (torch.ones(indices.shape, requires_grad=True) for _ in range(2))
    weight = torch.randn(2, 3, *size)
    (MaxUnpool()(ours, indices, size) * weight).sum().backward()
    (nn.MaxUnpool2d(2)(theirs, indices, output_size=list(size)) * weight).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


@SIZES
def test_unpooling_puts_values_back(size: tuple[int, int]) -> None:
    """Where a value was the maximum of its 2x2 window it is back; everywhere else is 0."""
    x, maxima, indices = pooled(size)
    found = MaxUnpool()(maxima, indices, size)
    for n, c, i, j in torch.cartesian_prod(*(torch.arange(k) for k in x.shape)).view(-1, 4).tolist():
        y, z = i - i % 2, j - j % 2
        window = x[n, c, y : y + 2, z : z + 2]
        expected = x[n, c, i, j] if x[n, c, i, j] == window.max() else 0.0
        assert found[n, c, i, j] == expected


@pytest.mark.parametrize(("size", "expected"), [((4, 6), (4, 6)), ((5, 6), (6, 6)), ((4, 7), (4, 8)), ((3, 3), (4, 4))])
def test_pad_to_even(size: tuple[int, int], expected: tuple[int, int]) -> None:
    x = torch.ones(1, 2, *size)
    padded = pad_to_even(x)
    assert padded.shape[-2:] == expected
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert padded.sum() == x.sum()
