import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.bifpn import BiFPN, BiFPNLayer, Node
from models.efficientdet_seg import EfficientDetSeg
from tests.conftest import ROOT
from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester, build, noise, without_chance


class EfficientDetTester(ModelTester):
    num_classes = 21
    memorising_steps = 400  # the classifier starts small
    slow = SLOW_FOR_VARIANTS


class TestD0(EfficientDetTester):
    name = "efficientdet_d0_seg"
    slow = SLOW


class TestD1(EfficientDetTester):
    name = "efficientdet_d1_seg"


class TestD2(EfficientDetTester):
    name = "efficientdet_d2_seg"


class TestD3(EfficientDetTester):
    name = "efficientdet_d3_seg"


class TestD4(EfficientDetTester):
    name = "efficientdet_d4_seg"


class TestD4Paper(EfficientDetTester):
    """17 M parameters in the paper; 17.6 M and 12.1 G multiply-adds were counted."""

    name = "efficientdet_d4_seg"
    memorising_scale = 4
    parameters = (17_248_000, 17_952_000)
    macs = {(512, 512): 12.1e9}
    slow = SLOW_FOR_VARIANTS

    def build(self) -> nn.Module:
        return build(self.name, self.num_classes, head="p2")


class TestD5(EfficientDetTester):
    name = "efficientdet_d5_seg"


class TestD6(EfficientDetTester):
    name = "efficientdet_d6_seg"


class TestD7(EfficientDetTester):
    name = "efficientdet_d7_seg"


def test_each_size_is_larger_than_the_one_before() -> None:
    """In the table of the README, which tests/tools/test_benchmark.py compares with the networks."""
    rows = re.findall(r"`efficientdet_d\d_seg` \| (\S+) M \| (\S+) G", (ROOT / "README.md").read_text())
    found = [(float(parameters), float(macs)) for parameters, macs in rows]
    assert len(found) == 8
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(found))


def test_each_size_is_larger_with_the_other_head() -> None:
    found = []
    for compound in (0, 2):
        with torch.device("meta"):
            model = EfficientDetSeg(21, compound, head="p2").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, 256, 256, device="meta"))
        found.append((sum(p.numel() for p in model.parameters()), counter.get_total_flops()))
    smaller, larger = found
    assert smaller[0] < larger[0] and smaller[1] < larger[1]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *(("efficientdet_d0_seg", "topdown"), ("efficientdet_d0_seg", "p2")),
        *(pytest.param("efficientdet_d4_seg", head, marks=pytest.mark.slow) for head in ("topdown", "p2")),
    ],
)
def test_training_starts_from_nearly_equal_probabilities(name: str, head: str) -> None:
    """The cross-entropy of a new network is that of equal probabilities, ln 19 = 2.944."""
    model = build(name, 19, head=head).train()
    target = torch.randint(19, (2, 96, 96), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = F.cross_entropy(model(noise(2, 3, 96, 96)), target)
    assert loss.item() == pytest.approx(math.log(19), abs=0.03)


@pytest.mark.parametrize("options", [{"head": "p2"}, {"head": "p2", "fusion": "sum"}, {"fusion": "sum"}])
def test_no_option_leaves_a_parameter_without_gradient(options: dict[str, Any]) -> None:
    model = without_chance(build("efficientdet_d0_seg", 21, **options)).train()
    logits = model(noise(1, 3, 64, 64))
    (logits * noise(*logits.shape)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()] == []


def test_fusion_weights_are_not_negative_and_add_up_to_one() -> None:
    node = Node(8, 3, "fast_normalised")
    assert node.weights is not None
    with torch.no_grad():
        node.weights.copy_(torch.tensor([2.0, -1.0, 6.0]))
    fractions = node.fractions()
    assert fractions.tolist() == pytest.approx([0.25, 0.0, 0.75], abs=1e-4)
    assert fractions.sum().item() == pytest.approx(1, abs=1e-4)


class Plus(nn.Module):
    """In place of a node: the sum of its inputs, so that what reaches an output can be counted by hand."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return torch.stack(maps).sum(0)


def test_which_levels_meet_in_a_bifpn_layer() -> None:
    """Figure 2d of the paper, by hand: levels of 1, 10, 100 and 1000, constant so that resizing changes nothing."""
    layer = BiFPNLayer(1, 4, "sum")
    assert layer.up is not None
    for nodes in (layer.down, layer.up):
        for i in range(len(nodes)):
            nodes[i] = Plus()
    values = (1.0, 10.0, 100.0, 1000.0)
    levels = [torch.full((1, 1, size, size), value) for value, size in zip(values, (16, 8, 4, 2), strict=True)]
    found = [level.flatten()[0].item() for level in layer(levels)]
    td2, td1, td0 = 1100.0, 1110.0, 1111.0  # on the way down
    out1 = 10 + td1 + td0
    out2 = 100 + td2 + out1
    assert found == [td0, out1, out2, 1000 + out2]


def test_levels_of_odd_sizes() -> None:
    model = BiFPN((4, 5, 6, 7), 8, 2, "fast_normalised").eval()
    maps = [noise(1, c, *size) for c, size in zip((4, 5, 6, 7), ((25, 33), (13, 17), (7, 9), (4, 5)), strict=True)]
    sizes = [tuple(level.shape[-2:]) for level in model(maps)]
    assert sizes == [(25, 33), (13, 17), (7, 9), (4, 5), (2, 3), (1, 2)]


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 32, 32)])
def test_checkpointing_changes_memory_alone(shape: tuple[int, ...]) -> None:
    """The same gradients and the same running statistics, with the random skipping of blocks left on."""
    results, passes = [], []
    for checkpointing in (False, True):
        model = build("efficientdet_d0_seg", 5, checkpointing=checkpointing).train()
        calls: list[nn.Module] = []
        model.encoder._blocks[3]._depthwise_conv.register_forward_pre_hook(lambda m, i, calls=calls: calls.append(m))
        torch.manual_seed(3)
        model(noise(*shape)).square().mean().backward()
        results.append((model.state_dict(), {n: p.grad for n, p in model.named_parameters()}))
        passes.append(len(calls))
    assert passes == [1, 2]  # each block is computed again
    (state, gradients), (other_state, other_gradients) = results
    assert all(torch.equal(state[key], other_state[key]) for key in state)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compound": 8}, "compound=8: must be from D0 to D7"),
        ({"head": "p3"}, "must be topdown or p2"),
        ({"fusion": "mean"}, "must be fast_normalised or sum"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EfficientDetSeg(21, **options)
