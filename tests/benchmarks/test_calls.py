"""What several benchmarks time."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.calls import inference_of, random_batch, step_of


def test_a_step_trains() -> None:
    network = nn.Conv2d(3, 11, 1).eval()
    before = network.weight.detach().clone()
    step_of(network, F.cross_entropy, *random_batch((2, 4, 4), 11))()
    assert network.training and not torch.equal(network.weight, before) and network.weight.grad is None


def test_a_step_calls_the_network_as_given() -> None:
    """A compiled network shares the parameters of the original."""
    network, called = nn.Conv2d(3, 11, 1), []

    def forward(images: torch.Tensor) -> torch.Tensor:
        called.append(images.shape)
        return network(images)

    step_of(network, F.cross_entropy, *random_batch((2, 4, 4), 11), forward)()
    assert called == [(2, 3, 4, 4)]


def test_inference_records_no_gradient() -> None:
    network = nn.Conv2d(3, 11, 1).train()
    logits = inference_of(network, random_batch((2, 4, 4), 11)[0])()
    assert isinstance(logits, torch.Tensor) and logits.is_inference() and not network.training
