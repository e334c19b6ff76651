import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.views import Averaged, has_dropout


class Lopsided(nn.Module):
    """Logits that depend on the column and on the size of what is given."""

    def forward(self, images: Tensor) -> Tensor:
        columns = torch.arange(images.shape[3]) / images.shape[3]
        first = images[:, 0] * columns + images.shape[2] / 100
        return torch.stack([first, -first, images[:, 1]], 1)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))


def test_flipped_views_are_averaged(images: Tensor) -> None:
    model = Lopsided()
    expected = (model(images).softmax(1) + model(images.flip(3)).flip(3).softmax(1)) / 2
    torch.testing.assert_close(Averaged(model, ["flip"])(images).softmax(1), expected)


def test_scaled_views_are_averaged(images: Tensor) -> None:
    model = Lopsided()
    total = torch.zeros(2, 3, 40, 48)
    for size in ((32, 36), (40, 48), (50, 60)):  # 0.75 (not below 32), 1 and 1.25
        for flip in (False, True):
            given = F.interpolate(images, size, mode="bilinear")
            logits = model(given.flip(3)).flip(3) if flip else model(given)
            total += F.interpolate(logits, (40, 48), mode="bilinear").softmax(1)
    found = Averaged(model, ["flip", "multiscale"])(images)
    torch.testing.assert_close(found.softmax(1), total / 6)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, 40, 48))  # it is a logarithm of probabilities


def test_samples_are_of_networks_with_dropout(images: Tensor) -> None:
    """A channel that dropout kills half of the time: the mean over many samples is known."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout2d(0.5)).eval()
    ones = torch.ones(1, 3, 32, 32)
    torch.manual_seed(0)
    found = Averaged(model, samples=1500)(ones).softmax(1)[0, :, 0, 0]
    kept = 2 / math.sqrt(1 + 1e-5)  # what dropout lets pass, it doubles
    expected = 0.0
    for a in (0.0, kept):
        for b in (0.0, kept):
            for c in (0.0, kept):
                expected += math.exp(a) / (math.exp(a) + math.exp(b) + math.exp(c)) / 8
    assert found.tolist() == pytest.approx([expected] * 3, abs=0.03)
    assert not any(module.training for module in model)  # as it was, and batch norm was never in training
    assert model[0].num_batches_tracked == 0
    assert torch.equal(model(ones), model(ones))


def test_which_networks_have_samples() -> None:
    assert has_dropout(nn.Sequential(nn.Dropout(0.1)))
    assert not has_dropout(nn.Sequential(nn.Dropout(0.0), nn.ReLU()))
