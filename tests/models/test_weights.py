from __future__ import annotations

from pathlib import Path

import pytest
import torch

from config.nodes import build_network
from engine.checkpoint import load_checkpoint
from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.espnet import ESPNet
from models.fast_scnn import FastSCNN
from models.weight_files import read_weights
from models.weights import load_pretrained
from tests.models.tester import pretrained
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
    found = pretrained(ENet(7), weights=str(file)).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


def test_weights_of_a_run_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    file.rename(tmp_path / "run" / "checkpoints" / "best.pt")
    pretrained(ENet(7), weights=str(tmp_path / "run"))


def test_another_number_of_classes(file: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"for other classes: fullconv.* is 16x7x3x3 there and 16x4x3x3 here; model.reset_classifier=true",
    ):
        pretrained(ENet(4), weights=str(file))
    model, old = pretrained(ENet(4), weights=str(file), reset_classifier=True).state_dict(), torch.load(file)
    kept = [key for key in model if not key.startswith("fullconv.")]
    assert all(torch.equal(model[key], old[key]) for key in kept)


def test_the_classes_of_a_classifier_that_was_loaded() -> None:
    streets = tuple(load_checkpoint("enet_camvid")["labels"]["names"])
    assert load_pretrained(ENet(11), weights="enet_camvid") == streets and streets[0] == "sky"
    assert load_pretrained(ENet(11), weights="enet_camvid", reset_classifier=True) == streets  # of as many classes
    assert load_pretrained(ENet(4), weights="enet_camvid", reset_classifier=True) is None
    assert load_pretrained(ENet(11)) is None


def test_every_classifier_is_reset(tmp_path: Path) -> None:
    """81 COCO classes into 21, with a second head beside the first."""
    path = str(tmp_path / "coco.pth")
    torch.save(FastSCNN(81, auxiliary=True).state_dict(), path)
    scnn = pretrained(FastSCNN(21, auxiliary=True), weights=path, reset_classifier=True)
    assert scnn.classifier[-1].out_channels == 21
    torch.save(EfficientDetSeg(81, 0).state_dict(), path)
    model = pretrained(EfficientDetSeg(21, 0), weights=path, reset_classifier=True).state_dict()
    old = torch.load(path)
    different = {key for key in model if model[key].shape != old[key].shape or not torch.equal(model[key], old[key])}
    assert different == {"head.classifier.weight", "head.classifier.bias"}


def test_the_classifier_of_a_network_of_a_library_is_reset(tmp_path: Path) -> None:
    """Such a network does not store its number of classes; `build_network` adds it."""
    node = {"_target_": "torchvision.models.squeezenet1_1"}
    old, model = build_network(node, 7), build_network(node, 4)
    before = model.classifier[1].weight.clone()
    torch.save(old.state_dict(), tmp_path / "seven.pth")
    pretrained(model, weights=str(tmp_path / "seven.pth"), reset_classifier=True)
    assert torch.equal(model.classifier[1].weight, before)
    assert torch.equal(model.features[0].weight, old.features[0].weight)


def test_weights_of_another_network(file: Path) -> None:
    with pytest.raises(UserError, match=r"model\.weights=.*: weights of another network: .* is missing there") as error:
        pretrained(FastSCNN(7), weights=str(file), reset_classifier=True)
    assert "reset_classifier" not in str(error.value)
    assert "pass the model= that they were trained with, or model.partial_weights=true" in str(error.value)


def test_what_fits_by_name_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From the final ESPNet to S0, which has no fusion, and another width of its first classifier layer."""
    path = tmp_path / "espnet.pth"
    state = ESPNet(7, fusion=True).state_dict()
    torch.save(state, path)
    model = ESPNet(3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with caplog.at_level("INFO"):
        pretrained(model, weights=str(path), partial_weights=True)
    fitting = [key for key, value in before.items() if key in state and state[key].shape == value.shape]
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key] if key in fitting else before[key]), key
    assert 0 < len(fitting) < len(before)
    loaded, kept, unused = (record.getMessage() for record in caplog.records[-3:])
    assert loaded == f"loaded {len(fitting)} of {len(before)} tensors from {path}"
    assert kept.endswith(": classifier.0.0.0, classifier.0.0.1, classifier.2, classifier.3")
    assert "fusion.depthwise.0" in unused and "encoder" not in kept + unused


def test_two_ways_to_load_what_fits_exclude_each_other(file: Path) -> None:
    with pytest.raises(UserError, match=r"leave out model\.reset_classifier"):
        pretrained(ENet(4), weights=str(file), partial_weights=True, reset_classifier=True)


def test_the_folder_of_a_sweep(tmp_path: Path) -> None:
    """Also of one whose first job has failed."""
    (tmp_path / "1" / "checkpoints").mkdir(parents=True)
    (tmp_path / "multirun.yaml").touch()
    for read in (load_checkpoint, read_weights):
        with pytest.raises(UserError, match=f"the folder of a sweep; name one of its runs, as in {tmp_path / '1'}$"):
            read(str(tmp_path))


def test_weights_of_which_nothing_fits(file: Path) -> None:
    with pytest.raises(UserError, match=r"none of its \d+ tensors fits FastSCNN"):
        pretrained(FastSCNN(7), weights=str(file), partial_weights=True)


def test_a_file_that_holds_more_than_weights(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(ENet(7), path)
    with pytest.raises(UserError, match="holds more than tensors"):
        pretrained(ENet(7), weights=str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(file: Path, value: float) -> None:
    state = torch.load(file)
    state["initial.norm.running_var"][0] = value
    torch.save(state, file)
    with pytest.raises(UserError, match=r"enet\.pth: initial\.norm\.running_var has 1 NaN or infinite of"):
        pretrained(ENet(7), weights=str(file))


def test_a_flipped_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 64
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"enet\.pth: damaged: the checksum of its record"):
        pretrained(ENet(7), weights=str(file))


def test_without_options_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = ESPNet(3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pretrained(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.encoder.frozen and caplog.text == ""


def test_freezing_an_untrained_encoder_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert pretrained(ESPNet(3), freeze_encoder=True).encoder.frozen
    assert "model.freeze_encoder=true without weights" in caplog.text


@pytest.mark.parametrize("option", [{"freeze_encoder": True}, {"encoder_weights": "imagenet"}])
def test_networks_without_an_encoder(option: dict) -> None:
    """ENet and any network whose `encoder` is something else."""
    other = ENet(3)
    other.encoder = torch.nn.Conv2d(3, 3, 1)
    for model in (ENet(3), other):
        with pytest.raises(UserError, match=f"model.{next(iter(option))}=(true|imagenet): ENet has no encoder"):
            pretrained(model, **option)


def test_the_whole_network_after_its_encoder(file: Path, tmp_path: Path) -> None:
    """What `weights` holds replaces what `encoder_weights` holds."""
    whole, encoder = ESPNet(3), ESPNet(3).encoder
    for name, module in (("whole", whole), ("encoder", encoder)):
        torch.save(module.state_dict(), tmp_path / name)
    model = pretrained(
        ESPNet(3), weights=str(tmp_path / "whole"), encoder_weights=str(tmp_path / "encoder"), freeze_encoder=True
    )
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.encoder.frozen
