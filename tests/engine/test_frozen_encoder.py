"""Encoders that are frozen for the first epochs."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.checkpoint import load_checkpoint
from engine.randomness import seed_everything
from models.encoders import Encoder
from tests.conftest import TINY, runs_in
from tests.engine.small import Net, fit, same_state, without_clocks
from tests.in_process import assert_refused, run_here
from train_segmentation import train
from utils.errors import UserError
from utils.interruption import Interrupted


class Features(Encoder):
    """A convolution with batch norm and dropout."""

    channels, strides = (8,), (1,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]

    def load_weights(self, weights: str) -> None:
        raise NotImplementedError


class Encoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classifier = Features(), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.encoder(images)[0])


def weights(folder: Path) -> dict[str, Tensor]:
    return load_checkpoint(folder / "checkpoints" / "last.pt")["model"]


def initial() -> dict[str, Tensor]:
    seed_everything(0)  # as `fit`
    return Encoded().state_dict()


def test_only_the_first_epochs(tmp_path: Path) -> None:
    """After one epoch the encoder is as it was, its batch norm's statistics included; after the second it is not."""
    fit(tmp_path / "one", network=Encoded, epochs=1, freeze_encoder_epochs=1)
    fit(tmp_path / "two", network=Encoded, epochs=2, freeze_encoder_epochs=1, ema=True)
    for name, before in initial().items():
        assert torch.equal(weights(tmp_path / "one")[name], before) == name.startswith("encoder."), name
        assert not torch.equal(weights(tmp_path / "two")[name], before), name


@pytest.mark.parametrize("stop_after", [3, 5, 8])
def test_a_run_that_is_resumed_has_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    """Stopped in the frozen epoch, at its end, and after it."""

    class Stopping(Encoded):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += self.training
            if self.training and self.calls == stop_after:
                signal.raise_signal(signal.SIGINT)
            return super().forward(images)

    options: dict[str, Any] = {"epochs": 3, "freeze_encoder_epochs": 1}
    fit(tmp_path / "whole", network=Encoded, **options)
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", network=Stopping, **options)
    fit(tmp_path / "stopped", network=Encoded, resume=True, **options)
    assert same_state(tmp_path / "whole", tmp_path / "stopped")
    assert without_clocks(tmp_path / "whole") == without_clocks(tmp_path / "stopped")


def test_networks_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.freeze_encoder_epochs=1: Net has no encoder"):
        fit(tmp_path, network=Net, freeze_encoder_epochs=1)


def test_an_encoder_that_is_frozen_for_good(tmp_path: Path) -> None:
    class Frozen(Encoded):
        def __init__(self) -> None:
            super().__init__()
            self.encoder.freeze()

    with pytest.raises(UserError, match=r"freeze_encoder_epochs=1: model\.freeze_encoder=true .* pass only one"):
        fit(tmp_path, network=Frozen, freeze_encoder_epochs=1)


def test_a_mistake_leaves_no_run_folder(tmp_path: Path) -> None:
    done = run_here(train, "train", "trainer.freeze_encoder_epochs=1", *TINY, cwd=tmp_path)
    assert_refused(done, "trainer.freeze_encoder_epochs=1: ENet has no encoder")
    assert runs_in(tmp_path) == []
