"""Several networks averaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.labels import LabelSet
from engine.normalization import Normalization
from export.facts import Facts
from export.onnx_model import OnnxModel
from inference.ensemble import ensemble_of
from inference.predictor import Predictor
from utils.errors import UserError

PATHS = ("one", "two", "three")
LABELS = LabelSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


class Pointwise(nn.Module):
    """Logits that depend on each pixel only; `step` 2 gives every second of them."""

    def __init__(self, seed: int, step: int = 1) -> None:
        super().__init__()
        self.layer, self.step = nn.Conv2d(3, 3, 1), step
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.layer.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)[..., :: self.step, :: self.step]


def predictor_of(seed: int, mean: float, std: float, step: int = 1, size: tuple[int, int] = (32, 32)) -> Predictor:
    normalization = Normalization((mean,) * 3, (std,) * 3)
    return Predictor(Pointwise(seed, step).eval(), LABELS, size, normalization)


def shares(predictor: Predictor, image: np.ndarray, mean: float, std: float) -> np.ndarray:
    """The probabilities (H, W, C) by hand."""
    weight, bias = (parameter.detach().numpy() for parameter in predictor.model.parameters())
    logits = ((image / 255 - mean) / std) @ weight[:, :, 0, 0].T + bias
    exponents = np.exp(logits - logits.max(2, keepdims=True))
    return exponents / exponents.sum(2, keepdims=True)


def test_probabilities_are_averaged_each_network_with_its_own_normalization() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    statistics = [(0.5, 0.2), (0.1, 1.0), (0.0, 0.5)]
    members = [predictor_of(seed, mean, std) for seed, (mean, std) in enumerate(statistics)]
    expected = np.mean([shares(p, image, *both) for p, both in zip(members, statistics, strict=True)], 0)
    found = ensemble_of(members, PATHS[: len(members)]).probabilities(image)
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=1e-5)
    assert (expected.argmax(2) != shares(members[0], image, *statistics[0]).argmax(2)).any()


def test_views_of_an_ensemble() -> None:
    """Networks of single pixels see the same in a mirror."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    members = [predictor_of(seed, 0.5, 0.2) for seed in range(2)]
    plain, flipped = (
        ensemble_of(members, PATHS[: len(members)]),
        ensemble_of(members, PATHS[: len(members)], tta=["flip"]),
    )
    np.testing.assert_allclose(plain.probabilities(image), flipped.probabilities(image), atol=1e-5)


def test_logits_of_another_size() -> None:
    image = np.full((32, 32, 3), 100, np.uint8)
    members = [predictor_of(0, 0.5, 0.2), predictor_of(1, 0.5, 0.2, step=2)]
    expected = (shares(members[0], image, 0.5, 0.2) + shares(members[1], image, 0.5, 0.2)) / 2
    found = ensemble_of(members, PATHS[: len(members)]).probabilities(image)
    assert found[:, 3, 5] == pytest.approx(expected[3, 5], abs=1e-5)


def test_networks_of_other_sizes_share_one_that_is_given_or_a_window() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    members = [predictor_of(0, 0.5, 0.2, size=(64, 64)), predictor_of(1, 0.1, 1.0, size=(48, 96))]
    with pytest.raises(UserError, match=r"one takes images of 64x64 and two of 48x96; pass one size .* image_size="):
        ensemble_of(members, PATHS[:2])
    expected = (shares(members[0], image, 0.5, 0.2) + shares(members[1], image, 0.1, 1.0)) / 2
    for found in (ensemble_of(members, PATHS[:2], (32, 32)), ensemble_of(members, PATHS[:2], window=(32, 32))):
        np.testing.assert_allclose(found.probabilities(image).transpose(1, 2, 0), expected, atol=1e-5)


def test_networks_for_stretched_and_for_padded_photos_do_not_fit_together() -> None:
    members = [predictor_of(seed, 0.5, 0.2) for seed in range(2)]
    members[1].fit = "pad"
    with pytest.raises(UserError, match=r"one was trained with data\.fit=stretch and two with data\.fit=pad"):
        ensemble_of(members, PATHS[:2], (32, 32))


class Exported(OnnxModel):
    """An exported file that takes images of 32x32 only, without ONNX Runtime."""

    def __init__(self, seed: int) -> None:
        nn.Module.__init__(self)
        self.network, self.path = Pointwise(seed), Path("one.onnx")
        self.facts = Facts(LABELS, Normalization(), (32, 32), False, False, "", "Pointwise", "", "{}")

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return iter(())

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[-2:] == (32, 32)
        return self.network(images)


def test_an_exported_file_of_one_size() -> None:
    """In windows, a photo below that size is padded to it."""
    image = np.random.default_rng(0).integers(0, 256, (20, 50, 3), np.uint8)
    network = Exported(0)
    members = [
        Predictor(network.eval(), LABELS, (32, 32), Normalization((0.5,) * 3, (0.2,) * 3)),
        predictor_of(1, 0.5, 0.2),
    ]
    alone = [predictor_of(seed, 0.5, 0.2) for seed in range(2)]
    expected = (shares(alone[0], image, 0.5, 0.2) + shares(alone[1], image, 0.5, 0.2)) / 2
    found = ensemble_of(members, PATHS[:2], window=(32, 32)).probabilities(image)
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=1e-5)
    for options in ({"tta": ["multiscale"]}, {"window": (64, 64)}):
        with pytest.raises(UserError, match=r"one\.onnx: takes only images of 32x32: .* export it with dynamic=true"):
            ensemble_of(members, PATHS[:2], **options)
