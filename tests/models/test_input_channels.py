"""Networks for images of other than three channels, and the weights of RGB networks in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from engine.checkpoint import build_model
from engine.size import multiply_adds
from models.deeplabv3plus import DeepLabV3Plus
from models.encoders import EfficientNetEncoder, TimmEncoder
from models.enet import ENet
from models.layers import check_images
from models.weight_files import with_input_channels
from models.weights import load_pretrained
from tests.models.tester import build, noise, outputs
from utils.config_groups import options
from utils.errors import UserError


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 13])
def test_kernels_are_adapted_as_timm_does(channels: int) -> None:
    kernels = noise(8, 3, 5, 5)
    found = with_input_channels({"stem": kernels}, {"stem": torch.zeros(8, channels, 5, 5)})
    torch.testing.assert_close(found["stem"], adapt_input_conv(channels, kernels))


def test_only_kernels_that_differ_in_their_three_input_channels_are_adapted() -> None:
    state = {"a": noise(8, 3, 3, 3), "b": noise(8, 6, 3, 3), "c": noise(8), "d": noise(8, 3, 3, 3)}
    own = {
        "a": torch.zeros(4, 5, 3, 3),
        "b": torch.zeros(8, 5, 3, 3),
        "c": torch.zeros(5),
        "d": torch.zeros(8, 3, 3, 3),
    }
    assert all(value is state[key] for key, value in with_input_channels(state, own).items())


NETWORKS = [name for name in options("model") if not re.search(r"_d[1-7]_", name)]  # EfficientDets differ in size only


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_every_network_takes_other_numbers_of_channels(name: str, channels: int) -> None:
    with torch.device("meta"):
        model = build(name, 7, in_channels=channels)
        for logits in outputs(model.train()(torch.empty(2, channels, 64, 96))):
            assert logits.shape == (2, 7, 64, 96)
        with pytest.raises(ValueError, match=f"images of 3 channels: expected {channels}"):
            model(torch.empty(2, 3, 64, 96))


@pytest.mark.parametrize("channels", [1, 6])
def test_an_rgb_encoder_gives_the_same_features_for_equal_channels(channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rgb = EfficientNetEncoder("efficientnet_lite0", stages=(1, 3)).eval()
    torch.save(rgb.state_dict(), tmp_path / "rgb.pth")
    other = EfficientNetEncoder("efficientnet_lite0", stages=(1, 3), in_channels=channels).eval()
    other.load_weights(str(tmp_path / "rgb.pth"))
    grey = noise(1, 1, 64, 64)
    for found, expected in zip(other(grey.expand(-1, channels, -1, -1)), rgb(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_timm_encoders_take_other_numbers_of_channels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder("resnet18", in_channels=4)
    state = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    state |= TimmEncoder("resnet18").net.state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    encoder.load_weights(str(tmp_path / "resnet18.pth"))
    expected = adapt_input_conv(4, state["conv1.weight"])
    torch.testing.assert_close(encoder.net.state_dict()["conv1.weight"], expected)


def test_weights_of_a_whole_rgb_network_are_adapted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rgb, other = ENet(5), ENet(5, in_channels=4)
    statistics = {"mean": [0.5] * 3, "std": [0.2] * 3}
    torch.save({"model": rgb.state_dict(), "normalization": statistics}, tmp_path / "rgb.pt")
    load_pretrained(other, weights=str(tmp_path / "rgb.pt"))
    kernels = rgb.state_dict()["initial.conv.weight"]
    torch.testing.assert_close(other.state_dict()["initial.conv.weight"], adapt_input_conv(4, kernels))
    assert not hasattr(other, "input_mean")  # which are of three channels


def test_weights_of_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    torch.save(ENet(5, in_channels=4).state_dict(), tmp_path / "four.pt")
    with pytest.raises(
        UserError, match=r"weights of another network: initial\.conv\.weight is 13x4x3x3 there and 13x6"
    ):
        load_pretrained(ENet(5, in_channels=6), weights=str(tmp_path / "four.pt"))


def test_statistics_of_as_many_channels_are_taken(tmp_path: Path) -> None:
    model = DeepLabV3Plus(5, "efficientnet_lite0", in_channels=4)
    statistics = {"mean": [0.1, 0.2, 0.3, 0.4], "std": [0.2] * 4}
    torch.save({"model": model.state_dict(), "normalization": statistics}, tmp_path / "four.pt")
    load_pretrained(model, weights=str(tmp_path / "four.pt"))
    assert model.input_mean == (0.1, 0.2, 0.3, 0.4)


def test_a_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(ValueError, match="images of 1 channel: expected 4; pass the channels of its training"):
        check_images(torch.zeros(1, 1, 32, 32), 4)


class Plain(nn.Module):
    """A network that does not keep the number of its channels, as those of libraries."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


def test_a_network_from_a_checkpoint_knows_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.checkpoint.trusted_class", lambda *_: Plain)
    checkpoint = {
        "config": {"model": {"_target_": "models.plain.Plain"}},
        "labels": {"names": ["a", "b"]},
        "normalization": {"mean": [0.5] * 5, "std": [0.2] * 5},
        "model": Plain(2, 5).state_dict(),
    }
    assert multiply_adds(build_model(checkpoint), (8, 8)) == 5 * 2 * 64
