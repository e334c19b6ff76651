from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import inference.predictor
from data.labels import LabelSet
from engine.normalization import Normalization
from inference.ensemble import ensemble_of
from inference.predictor import Predictor
from utils.errors import UserError

LABELS = LabelSet(("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
RNG = np.random.default_rng(0)


def small_network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 3, 1)).eval()


def predictor(**settings: object) -> Predictor:
    return Predictor(small_network(), LABELS, (32, 40), Normalization(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(50, 70), (1, 1), (1, 1000), (200, 33)])
def test_large_photos_row_by_row_are_as_in_one_piece(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*size, 3), np.uint8)
    whole = predictor().probabilities(image)
    monkeypatch.setattr(inference.predictor, "LARGEST", 3 * size[1] * 7)  # seven rows at once
    np.testing.assert_allclose(predictor().probabilities(image), whole, atol=1e-5)
    assert whole.shape == (3, *size) and np.allclose(whole.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(predictor().predict(image), whole.argmax(0))


def test_probabilities_through_windows_and_views() -> None:
    """A window of the photo's size, and flips: the mean of the network on the photo itself and mirrored."""
    image = RNG.integers(0, 256, (48, 64, 3), np.uint8)
    model, normalization = small_network(), Normalization()

    def probabilities(photo: np.ndarray) -> Tensor:
        with torch.no_grad():
            return model(normalization(torch.from_numpy(photo.transpose(2, 0, 1).copy())[None])).softmax(1)[0]

    mirrored = probabilities(image[:, ::-1]).flip(2)
    expected = (probabilities(image) + mirrored) / 2
    found = predictor(window=(48, 64), tta=["flip"]).probabilities(image)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


class Watched(nn.Conv2d):
    """A network that notes the memory layout of its images and weights."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((images.is_contiguous(memory_format=torch.channels_last), not images.is_contiguous()))
        assert self.weight.is_contiguous(memory_format=torch.channels_last)
        return super().forward(images)


@pytest.mark.parametrize("options", [{}, {"window": (32, 32)}, {"tta": ["flip", "multiscale"]}])
def test_networks_run_in_channels_last_on_a_cpu(options: dict[str, Any]) -> None:
    network = Watched().eval()
    image = RNG.integers(0, 256, (40, 50, 3), np.uint8)
    Predictor(network, LABELS, (32, 40), Normalization(), **options).predict(image)
    assert set(network.seen) == {(True, True)}


def test_members_of_an_ensemble_run_in_channels_last() -> None:
    networks = Watched().eval(), Watched().eval()
    predictors = [Predictor(network, LABELS, (32, 40), Normalization()) for network in networks]
    ensemble_of(predictors, ["a", "b"]).predict(RNG.integers(0, 256, (40, 50, 3), np.uint8))
    assert [network.seen for network in networks] == [[(True, True)]] * 2


def test_uncertainty_is_the_entropy_of_what_is_said() -> None:
    image = RNG.integers(0, 256, (33, 47, 3), np.uint8)
    for settings in ({}, {"window": (32, 32)}):
        mask, uncertainty, probabilities = predictor(**settings).predict_with(image, uncertainty=True)
        said = predictor(**settings).probabilities(image).astype(np.float64)
        assert probabilities is None
        expected = -(said * np.log(said)).sum(0) / np.log(3)
        assert uncertainty is not None
        np.testing.assert_allclose(uncertainty, expected, atol=1e-4)
        np.testing.assert_array_equal(mask, said.argmax(0))


def test_a_photo_goes_through_the_network_once_for_all_that_is_asked() -> None:
    """So that the samples behind a mask, its uncertainty and its probabilities are the same ones."""
    image = RNG.integers(0, 256, (33, 47, 3), np.uint8)
    sampled = Predictor(small_network(0.5), LABELS, (32, 40), Normalization(), samples=5)
    mask, uncertainty, said = sampled.predict_with(image, uncertainty=True, probabilities=True)
    assert said is not None and uncertainty is not None
    np.testing.assert_array_equal(mask, said.argmax(0))
    np.testing.assert_allclose(uncertainty, -(said * np.log(said)).sum(0) / np.log(3), atol=1e-4)


@pytest.mark.parametrize(
    "photo",
    [
        RNG.random((33, 47, 3), np.float32),
        RNG.integers(0, 65536, (33, 47, 3), np.uint16),
        RNG.integers(0, 256, (33, 47), np.uint8),
        RNG.integers(0, 256, (33, 47, 4), np.uint8),
        np.zeros((0, 47, 3), np.uint8),
        "street.png",
    ],
)
def test_what_is_no_photo_is_refused(photo: Any) -> None:
    for ask in (predictor().predict, predictor().probabilities):
        with pytest.raises(ValueError, match=r"expected a photo uint8 \(H, W, 3\)"):
            ask(photo)


def test_samples_need_dropout() -> None:
    with pytest.raises(UserError, match="no dropout"):
        predictor(samples=5)
    image = RNG.integers(0, 256, (33, 47, 3), np.uint8)
    sampled = Predictor(small_network(0.5), LABELS, (32, 40), Normalization(), samples=5)
    first, second = sampled.probabilities(image), sampled.probabilities(image)
    assert not np.allclose(first, second) and np.allclose(first.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"window": (16, 64)}, "at least 32"),
        ({"overlap": 1.0}, "from 0 to below 1"),
        ({"tta": ["flop"]}, "tta='flop': must be a list of 'flip', 'multiscale'"),
        ({"tta": "flip"}, "must be a list"),
        ({"samples": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], fragment: str) -> None:
    with pytest.raises(UserError, match=fragment):
        predictor(**settings)
