"""The classifiers against efficientnet-pytorch's own."""

from __future__ import annotations

from pathlib import Path

import efficientnet_pytorch
import pytest
import torch

from config.checks import CLASSIFIERS
from models.efficientnet import EfficientNet
from models.encoders import EFFICIENTNETS
from tests.models.tester import loaded, noise, settled
from utils.errors import UserError

PUBLISHED = {
    "efficientnet_b0": (224, 5_288_548),
    "efficientnet_b1": (240, 7_794_184),
    "efficientnet_b2": (260, 9_109_994),
    "efficientnet_b3": (300, 12_233_232),
    "efficientnet_b4": (380, 19_341_616),
    "efficientnet_b5": (456, 30_389_784),
    "efficientnet_b6": (528, 43_040_704),
    "efficientnet_b7": (600, 66_347_960),
}
"""Image size, and number of parameters as torchvision's documentation has it."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_and_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = EfficientNet(name)
    assert (model.image_size, sum(p.numel() for p in model.parameters())) == PUBLISHED[name]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name > "efficientnet_b0")) for name in PUBLISHED]
)
def test_logits_equal_those_of_the_library(name: str, tmp_path: Path) -> None:
    """At the published size, with the same weights, from a file as its downloads are."""
    torch.manual_seed(0)
    library = efficientnet_pytorch.EfficientNet.from_name(name.replace("_", "-"), image_size=None)
    library._fc.weight.data *= 30  # so that there is something to compare
    theirs = settled(library)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = loaded(EfficientNet(name), str(tmp_path / "weights.pth")).eval()
    image = noise(1, 3, ours.image_size, ours.image_size)
    with torch.inference_mode():
        expected, found = theirs(image), ours(image)
    assert found.shape == (1, 1000) and expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_published_initialisation() -> None:
    """The linear layer is uniform in +-1 / sqrt(classes); dropout grows with the network."""
    torch.manual_seed(0)
    model = EfficientNet("efficientnet_b4", num_classes=400)
    assert model._fc.weight.abs().max().item() == pytest.approx(0.05, rel=1e-3)
    assert model._fc.weight.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.01)
    assert model._fc.bias.abs().max() == 0 and model._dropout.p == 0.4


def test_dropout_in_training_alone() -> None:
    torch.manual_seed(0)
    model = EfficientNet("efficientnet_b0", num_classes=3).eval()
    images = noise(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), model(images))
        model._dropout.train()
        assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("theirs", "change", "message"),
    [
        ("efficientnet-b1", {}, "weights of another network: _blocks"),
        ("efficientnet-b0", {"num_classes": 10}, r"of 10 classes, but num_classes \(the number of labels\) is 1000"),
        ("efficientnet-b0", {"include_top": False}, "weights of another network: _fc.weight is missing"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, theirs: str, change: dict, message: str) -> None:
    model = efficientnet_pytorch.EfficientNet.from_name(theirs, **change)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        loaded(EfficientNet("efficientnet_b0"), str(tmp_path / "weights.pth"))


def test_the_tool_knows_all_of_them() -> None:
    assert CLASSIFIERS == EFFICIENTNETS
    assert CLASSIFIERS[:8] == tuple(PUBLISHED)
