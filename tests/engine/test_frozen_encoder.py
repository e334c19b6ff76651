"""Encoders that are frozen for the first epochs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint import load_checkpoint
from engine.randomness import seed_everything
from tests.conftest import TINY, runs_in
from tests.engine.small import Encoded, Net, at_step, fit, interrupted, same_run
from tests.in_process import assert_refused, run_here
from train_segmentation import train
from utils.errors import UserError
from utils.interruption import Interrupted


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
    options: dict[str, Any] = {"epochs": 3, "freeze_encoder_epochs": 1}
    fit(tmp_path / "whole", network=Encoded, **options)
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", network=at_step(stop_after, interrupted, Encoded), **options)
    fit(tmp_path / "stopped", network=Encoded, resume=True, **options)
    assert same_run(tmp_path / "whole", tmp_path / "stopped")


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
