"""Auxiliary heads of ENet and ESPNet: in training only, and nothing else changes."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.enet import ENet
from models.espnet import ESPNet
from tests.models.tester import without_chance

NETWORKS = pytest.mark.parametrize("network", [ENet, ESPNet])


def pair(network: type[ENet] | type[ESPNet]) -> tuple[nn.Module, nn.Module]:
    """The network with a head, and one of the same weights without."""
    torch.manual_seed(0)
    with_head, plain = network(5, auxiliary=True), network(5)
    plain.load_state_dict({k: v for k, v in with_head.state_dict().items() if not k.startswith("auxiliary.")})
    return with_head, plain


@NETWORKS
def test_the_main_logits_are_those_of_the_network_without_a_head(network: type[ENet] | type[ESPNet]) -> None:
    with_head, plain = pair(network)
    images = torch.randn(2, 3, 47, 64)
    for training in (True, False):
        torch.manual_seed(1)
        found = with_head.train(training)(images)
        torch.manual_seed(1)
        expected = plain.train(training)(images)
        if training:
            assert [tuple(logits.shape) for logits in found] == [(2, 5, 47, 64)] * 2
            found = found[0]
        assert torch.equal(found, expected)


@NETWORKS
def test_the_head_reads_the_end_of_the_encoder(network: type[ENet] | type[ESPNet]) -> None:
    """Its gradient reaches only the encoder."""
    model: Any = without_chance(network(5, auxiliary=True)).train()
    features: list[torch.Tensor] = []
    last = model.stage3 if isinstance(model, ENet) else model.encoder
    last.register_forward_hook(lambda _, __, out: features.append(out[-1] if isinstance(out, list) else out))
    _, found = model(torch.randn(2, 3, 64, 96))
    expected = F.interpolate(model.auxiliary(features[0]), size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    reached = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    encoder = {"initial", "down1", "stage1", "down2", "stage2", "stage3"} if isinstance(model, ENet) else {"encoder"}
    assert reached == encoder | {"auxiliary"}
