from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import Doubling, MaxPool, MaxUnpool, PReLU, pad_to_even, pool_to_bins, resize
from models.same_padding import SameConv2d

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
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_gradient_equals_that_of_torch(size: tuple[int, int], layout: torch.memory_format) -> None:
    _, _, indices = pooled(size)
    ours, theirs = (torch.ones(indices.shape, requires_grad=True) for _ in range(2))
    weight = torch.randn(2, 3, *size)
    given = ours.contiguous(memory_format=layout)
    (MaxUnpool()(given, indices.contiguous(memory_format=layout), size) * weight).sum().backward()
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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_prelu_gradient_equals_that_of_torch(layout: torch.memory_format) -> None:
    """In float64; with zeros, negative slopes, and slopes above 1."""
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64).round(decimals=1).contiguous(memory_format=layout)
    slope = torch.tensor([-0.5, 0.0, 0.25, 2.0], dtype=torch.float64)
    weight = torch.randn_like(x)
    gradients = []
    for layer in (PReLU(4).double(), nn.PReLU(4).double()):
        layer.weight.data.copy_(slope)
        leaf = x.clone().requires_grad_()
        (layer(leaf) * weight).sum().backward()
        gradients.append((leaf.grad, layer.weight.grad))
    assert (x == 0).any()
    torch.testing.assert_close(gradients[0], gradients[1])


def test_prelu_in_mixed_precision() -> None:
    layer, leaf = PReLU(4), torch.randn(2, 4, 5, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(F.conv2d(leaf, torch.eye(4).view(4, 4, 1, 1)))
    out.float().sum().backward()
    assert leaf.grad is not None and layer.weight.grad is not None
    expected = leaf.detach().bfloat16().float()
    torch.testing.assert_close(leaf.grad, torch.where(expected > 0, 1.0, 0.25))
    torch.testing.assert_close(layer.weight.grad, expected.clamp_max(0).sum((0, 2, 3)), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(("size", "expected"), [((4, 6), (4, 6)), ((5, 6), (6, 6)), ((4, 7), (4, 8)), ((3, 3), (4, 4))])
def test_pad_to_even(size: tuple[int, int], expected: tuple[int, int]) -> None:
    x = torch.ones(1, 2, *size)
    padded = pad_to_even(x)
    assert padded.shape[-2:] == expected
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert padded.sum() == x.sum()


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 11), (1, 1), (33, 2)])
def test_doubling_equals_the_transposed_convolution_of_torch(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = Doubling(4, 3), nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, -(-size[0] // 2), -(-size[1] // 2))
    torch.testing.assert_close(ours(x, size), theirs(x, output_size=list(size)))


class InOnnx(nn.Module):
    """One of the layers that are written otherwise in ONNX."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.prelu, self.pool, self.unpool = PReLU(3), MaxPool(), MaxUnpool()
        self.deconv = Doubling(3, 2)
        self.narrow = SameConv2d(3, 6, 3, stride=2)
        self.wide = SameConv2d(3, 6, 5, stride=2, groups=3, bias=False)
        nn.init.normal_(self.prelu.weight)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        if self.name == "prelu":
            return self.prelu(x)
        if self.name == "unpool":
            values, indices = self.pool(x)
            return self.unpool(values + 1, indices, size)
        if self.name == "double":
            return self.deconv(x[..., : (size[0] + 1) // 2, : (size[1] + 1) // 2], size)
        if self.name == "bins":
            return torch.cat([pool_to_bins(x, bins).flatten(2) for bins in (1, 2, 3, 6)], dim=2)
        return self.narrow(x) + self.wide(x)


@pytest.mark.parametrize(
    "name", ["unpool", "bins", *(pytest.param(name, marks=pytest.mark.slow) for name in ("prelu", "double", "same"))]
)
def test_layers_in_onnx_at_any_size(name: str) -> None:
    """As in PyTorch, where each has a test of its own."""
    torch.manual_seed(0)
    layer, free = InOnnx(name).eval(), torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        layer,
        (torch.zeros(2, 3, 97, 131),),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: free, 2: free, 3: free},),
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in [(1, 3, 8, 8), (3, 3, 7, 9), (2, 3, 6, 11), (2, 3, 33, 18)]:
        x = torch.randn(shape)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, layer(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 17), (6, 6), (13, 32)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_pooling_to_bins(size: tuple[int, int], bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ONNX, and without."""
    x = torch.randn(2, 4, *size)
    assert torch.equal(pool_to_bins(x, bins), F.adaptive_avg_pool2d(x, bins))
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    torch.testing.assert_close(pool_to_bins(x, bins), F.adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_resizing_keeps_the_layout_of_maps_and_gradients(layout: torch.memory_format) -> None:
    """Whatever the layout of the gradient that the loss returns."""
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    like = torch.empty(2, 3, 16, 15).contiguous(memory_format=layout)
    found, gradient = resize(x, like), torch.randn(2, 3, 16, 15)
    found.backward(gradient)
    given = x.detach().clone().contiguous().requires_grad_()
    expected = F.interpolate(given, size=(16, 15), mode="bilinear", align_corners=False)
    expected.backward(gradient)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(x.grad, given.grad)
    assert x.grad is not None
    assert found.is_contiguous(memory_format=layout)
    assert x.grad.is_contiguous(memory_format=layout)
