"""1x1 convolutions by oneDNN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.autograd.profiler import profile

from engine.pointwise import compute_with_onednn
from engine.trainer import Trainer
from models.enet import ENet
from models.fast_scnn import FastSCNN

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_are_those_of_a_matrix_product(stride: int) -> None:
    conv = nn.Conv2d(8, 5, 1, stride)  # with 3 channels and a stride, oneDNN for AVX2 overruns its memory
    assert conv.bias is not None
    x = torch.randn(2, 8, 6, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    compute_with_onednn(conv)
    found = conv(x)
    given = x.detach()[..., ::stride, ::stride].requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in (conv.weight[:, :, 0, 0], conv.bias))
    expected = torch.einsum("nchw,kc->nkhw", given, weight) + bias[:, None, None]
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(found)
    found.backward(gradient)
    expected.backward(gradient)
    assert x.grad is not None and conv.weight.grad is not None and weight.grad is not None
    torch.testing.assert_close(x.grad[..., ::stride, ::stride], given.grad)
    torch.testing.assert_close(conv.weight.grad[:, :, 0, 0], weight.grad)
    torch.testing.assert_close(conv.bias.grad, bias.grad)


def test_larger_kernels_stay_as_they_are() -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1)
    compute_with_onednn(conv)
    assert conv.dilation == (1, 1)


@needs_onednn
@pytest.mark.parametrize("network", [ENet, FastSCNN])
def test_the_trainer_uses_no_slow_convolution(network: type[nn.Module]) -> None:
    model = Trainer(epochs=1, device="cpu", threads=1).prepare(network(5))
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with profile() as events:
        model.train()(images).sum().backward()
    assert [event.key for event in events.key_averages() if "slow_conv" in event.key] == []
