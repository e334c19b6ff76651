"""Batch norms folded into convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.labels import LabelSet
from engine.normalization import Normalization
from inference.folding import fold_batch_norms
from inference.predictor import Predictor
from inference.views import Averaged
from models.deeplabv3plus import DeepLabV3Plus
from models.efficient_segnet import EfficientSegNet
from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.espnet import ESPNet
from models.fast_scnn import FastSCNN

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # The number is that of batch norms that stay.
    "enet": (lambda: ENet(5), 1),  # after the concatenation of the first block
    "fast_scnn": (lambda: FastSCNN(5), 0),
    "espnet": (lambda: ESPNet(5, encoder="efficientnet_lite0"), 0),
    "efficient_segnet": (lambda: EfficientSegNet(5), 0),
    "efficientdet": (lambda: EfficientDetSeg(5), 0),
    "deeplabv3plus, of timm": (lambda: DeepLabV3Plus(5, encoder="mobilenetv3_small_050"), 0),
}
LONG = ("efficientdet", "deeplabv3plus, of timm")


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def as_trained(model: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights unlike those they start with."""
    generator = torch.Generator().manual_seed(1)
    for norm in norms_of(model):
        assert norm.running_mean is not None and norm.running_var is not None
        for values, low, high in (
            (norm.running_mean, -0.3, 0.3),
            (norm.running_var, 0.5, 2.0),
            (norm.weight.data, 0.5, 1.5),
            (norm.bias.data, -0.3, 0.3),
        ):
            values.uniform_(low, high, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NETWORKS])
def test_outputs_stay_the_same(name: str) -> None:
    build, left = NETWORKS[name]
    model = as_trained(build()).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold_batch_norms(model)
    assert len(norms_of(folded)) == left
    images = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = model(images)
        assert (folded(images) - expected).abs().max() < 1e-10 * expected.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Awkward(nn.Module):
    """Layers that must not be folded."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.norm, self.kind = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), kind

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "output used twice":
            found = self.conv(images)
            return self.norm(found) + found
        if self.kind == "convolution called twice":
            return self.norm(self.conv(self.conv(images)))
        if self.kind == "statistics read":
            assert self.norm.running_mean is not None
            return self.norm(self.conv(images)) + self.norm.running_mean.view(-1, 1, 1)
        if images.shape[-1] < 96:
            raise ValueError("images must be larger")
        return self.norm(self.conv(images))


@pytest.mark.parametrize("kind", ["output used twice", "convolution called twice", "statistics read", "large only"])
def test_networks_that_cannot_be_folded_stay_as_they_are(kind: str) -> None:
    model = as_trained(Awkward(kind))
    folded = fold_batch_norms(model)
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(folded(images), model(images))
    assert len(norms_of(folded)) == 1


@pytest.mark.parametrize("between", [nn.Dropout(), nn.Dropout2d(), nn.ReLU(inplace=True)])
def test_other_layers_between_convolution_and_batch_norm(between: nn.Module) -> None:
    first = nn.Sequential(nn.Conv2d(3, 8, 3), between, nn.BatchNorm2d(8))
    model = as_trained(nn.Sequential(first, nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)))
    folded = fold_batch_norms(model)
    assert len(norms_of(folded)) == 1
    found = []
    for network in (model, folded):
        torch.manual_seed(0)
        with torch.inference_mode():
            found.append(Averaged(network, samples=2)(torch.randn(1, 3, 32, 32)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_half_precision_is_kept() -> None:
    folded = fold_batch_norms(as_trained(FastSCNN(5)).bfloat16())
    assert norms_of(folded) == []
    assert {value.dtype for value in folded.state_dict().values()} == {torch.bfloat16}


def test_random_numbers_are_not_disturbed() -> None:
    model = as_trained(FastSCNN(5))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fold_batch_norms(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_predictor_folds_a_copy() -> None:
    labels = LabelSet(("a", "b", "c", "d", "e"), tuple((i, i, i) for i in range(5)))
    model, normalization = as_trained(FastSCNN(5)), Normalization()
    predictor = Predictor(model, labels, (64, 96), normalization, tta=["flip"])
    assert norms_of(predictor.model) == [] and len(norms_of(model)) == 44
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    images = normalization(torch.from_numpy(photo.transpose(2, 0, 1).copy())[None])
    with torch.inference_mode():
        expected = (model(images).softmax(1) + model(images.flip(-1)).softmax(1).flip(-1))[0] / 2
    np.testing.assert_allclose(predictor.probabilities(photo), expected.numpy(), atol=1e-5)
