from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.fast_scnn import FastSCNN
from utils.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of an ENet of 7 classes."""
    path = tmp_path / "enet.pth"
    torch.manual_seed(9)
    torch.save(ENet(7).state_dict(), path)
    return path


@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
def test_weights_of_a_state_dict_or_a_checkpoint(file: Path, nested: str | None) -> None:
    expected = torch.load(file)
    if nested is not None:
        torch.save({nested: expected, "epoch": 3}, file)
    found = ENet(7, weights=str(file)).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


def test_weights_of_a_run_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    file.rename(tmp_path / "run" / "checkpoints" / "best.pt")
    ENet(7, weights=str(tmp_path / "run"))


def test_another_number_of_classes(file: Path) -> None:
    with pytest.raises(UserError, match=r"fullconv.* is 16x7x3x3 there and 16x4x3x3 here; model.reset_classifier=true"):
        ENet(4, weights=str(file))
    model, old = ENet(4, weights=str(file), reset_classifier=True).state_dict(), torch.load(file)
    kept = [key for key in model if not key.startswith("fullconv.")]
    assert all(torch.equal(model[key], old[key]) for key in kept)


def test_every_classifier_is_reset(tmp_path: Path) -> None:
    """81 COCO classes into 21, with a second head beside the first."""
    path = str(tmp_path / "coco.pth")
    torch.save(FastSCNN(81, auxiliary=True).state_dict(), path)
    assert FastSCNN(21, auxiliary=True, weights=path, reset_classifier=True).classifier[-1].out_channels == 21
    torch.save(EfficientDetSeg(81, 0).state_dict(), path)
    old, model = torch.load(path), EfficientDetSeg(21, 0, weights=path, reset_classifier=True).state_dict()
    different = {key for key in model if model[key].shape != old[key].shape or not torch.equal(model[key], old[key])}
    assert different == {"head.classifier.weight", "head.classifier.bias"}


def test_weights_of_another_network(file: Path) -> None:
    with pytest.raises(UserError, match=r"model\.weights=.*: weights of another network: .* is missing there") as error:
        FastSCNN(7, weights=str(file), reset_classifier=True)
    assert "reset_classifier" not in str(error.value)


def test_a_file_that_holds_more_than_weights(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(ENet(7), path)
    with pytest.raises(UserError, match="holds more than tensors"):
        ENet(7, weights=str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(file: Path, value: float) -> None:
    state = torch.load(file)
    state["initial.norm.running_var"][0] = value
    torch.save(state, file)
    with pytest.raises(UserError, match=r"enet\.pth: initial\.norm\.running_var has 1 NaN or infinite of"):
        ENet(7, weights=str(file))


def test_a_flipped_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 64
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"enet\.pth: damaged: the checksum of its record"):
        ENet(7, weights=str(file))
