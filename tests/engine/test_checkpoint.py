import copy
import logging
import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import engine.checkpoint
from engine.checkpoint import VERSION, best_of, build_model, load_checkpoint, save_checkpoint
from models.efficient_segnet import EfficientSegNet
from models.encoders import EfficientNetEncoder
from models.enet import ENet
from models.weights import load_pretrained
from utils.errors import UserError

GREY = {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    return {
        "config": {"model": {"_target_": "models.enet.ENet", "dropout": 0.2}},
        "labels": {"names": ["a", "b", "c"], "colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]},
        "model": ENet(3).state_dict(),
        "normalization": GREY,
        "image_size": [64, 64],
    }


def test_a_model_comes_back_with_its_weights(tmp_path: Path, checkpoint: dict) -> None:
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert loaded["version"] == VERSION
    model = build_model(loaded)
    assert isinstance(model, ENet)
    assert {m.p for m in model.stage2.modules() if isinstance(m, nn.Dropout2d)} == {0.2}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, checkpoint["model"][name])


def test_a_run_folder_stands_for_its_best(tmp_path: Path, checkpoint: dict) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="not a run folder"):
        best_of(tmp_path)
    for place, message in ((".hydra", "it was ended before it started"), ("config.yaml", "it has no checkpoint yet")):
        (tmp_path / "early" / place).mkdir(parents=True)
        with pytest.raises(UserError, match=message):
            best_of(tmp_path / "early")
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", checkpoint | {"epoch": 1})
    assert load_checkpoint(tmp_path)["epoch"] == 1
    save_checkpoint(tmp_path / "checkpoints" / "best.pt", checkpoint | {"epoch": 2})
    assert load_checkpoint(tmp_path)["epoch"] == 2
    with pytest.raises(UserError, match=r"not a run folder: .* pass a file, such as .*checkpoints/best.pt"):
        best_of(tmp_path / "checkpoints")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_previous_one(
    tmp_path: Path, checkpoint: dict, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, checkpoint | {"epoch": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    target = {"write": (engine.checkpoint.torch, "save"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[moment]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(UserError, match=r"a\.pt: cannot .* \(No space left on device\); the one before is kept"):
            save_checkpoint(path, checkpoint | {"epoch": 2})
    assert load_checkpoint(path)["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_damaged_and_foreign_files(tmp_path: Path, checkpoint: dict) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_checkpoint(path)
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.pt: (damaged|not a (checkpoint|file of weights))"):
            load_checkpoint(path)
    path.write_text("hello, this is no checkpoint")
    with pytest.raises(UserError):
        load_checkpoint(path)
    torch.save(ENet(3).state_dict(), path)
    with pytest.raises(UserError, match="not a checkpoint of this program"):
        load_checkpoint(path)
    torch.save({"version": VERSION, **{k: v for k, v in checkpoint.items() if k != "normalization"}}, path)
    with pytest.raises(UserError, match="without normalization"):
        load_checkpoint(path)
    torch.save({"version": VERSION + 1, **checkpoint}, path)
    with pytest.raises(UserError, match="newer version"):
        load_checkpoint(path)


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.mark,)


def test_reading_a_checkpoint_runs_no_code_of_it(tmp_path: Path, checkpoint: dict) -> None:
    mark = tmp_path / "ran"
    torch.save({"version": VERSION, **checkpoint, "epoch": Evil(mark)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="more than tensors"):
        load_checkpoint(tmp_path / "a.pt")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.exists()  # it would have


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.Linear",
        "models.enet.torch.os.system",
        "models.enet.nn.Module",
        "models.enet.MaxUnpool",  # a class of the project, but not of that file
        "models.enet._projection",
        "models.nothing.ENet",
        "models...enet.ENet",
        "modelsx.enet.ENet",
        "models.ENet",
        f"models.{'x' * 300}.ENet",  # no file has such a name
        "models.enet\0.ENet",
        "",
        None,
        3,
    ],
)
def test_only_the_projects_own_models_are_built(checkpoint: dict, target: Any) -> None:
    checkpoint["config"]["model"]["_target_"] = target
    with pytest.raises(UserError, match="not a model of this project"):
        build_model(checkpoint)


def test_a_target_inside_the_arguments_is_only_data(checkpoint: dict, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    checkpoint["config"]["model"]["dropout"] = {"_target_": "os.mkdir", "path": str(mark)}
    with pytest.raises(UserError):
        build_model(checkpoint)
    assert not mark.exists()


def test_weights_of_something_else(checkpoint: dict) -> None:
    other = copy.deepcopy(checkpoint)
    other["labels"] = {"names": ["a", "b"], "colors": [[0, 0, 0], [1, 1, 1]]}
    with pytest.raises(UserError, match=r"fullconv\.weight is \(16, 3, 3, 3\) in the file and \(16, 2, 3, 3\)"):
        build_model(other)
    del checkpoint["model"]["initial.conv.weight"]
    with pytest.raises(UserError, match=r"initial\.conv\.weight is missing"):
        build_model(checkpoint)
    checkpoint["config"]["model"]["width"] = 3
    with pytest.raises(UserError, match=r"does not fit models\.enet\.ENet"):
        build_model(checkpoint)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_network_is_rebuilt_without_the_files_that_it_began_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, freeze: bool
) -> None:
    """The file of encoder weights is gone, the encoder as frozen as it was, and there is no warning."""
    file = tmp_path / "b0.pth"
    torch.save(EfficientNetEncoder("efficientnet_b0", head=True).state_dict(), file)
    options: dict[str, Any] = {"encoder_weights": str(file), "freeze_encoder": freeze, "weights": None}
    model = EfficientSegNet(3)
    load_pretrained(model, **options)
    file.unlink()
    config = {"model": {"_target_": "models.efficient_segnet.EfficientSegNet", **options}}
    with caplog.at_level(logging.WARNING):
        rebuilt = build_model(
            {"normalization": GREY, "config": config, "labels": {"names": list("abc")}, "model": model.state_dict()}
        )
    assert isinstance(rebuilt, EfficientSegNet)
    assert rebuilt.encoder.frozen == model.encoder.frozen == freeze
    assert all(torch.equal(value, rebuilt.state_dict()[key]) for key, value in model.state_dict().items())
    assert caplog.text == ""


def test_a_frozen_encoder_that_the_network_does_not_have(checkpoint: dict) -> None:
    checkpoint["config"]["model"]["freeze_encoder"] = True
    with pytest.raises(UserError, match="ENet has no encoder"):
        build_model(checkpoint)


class Own(nn.Module):
    """A network that takes `encoder_weights` itself."""

    def __init__(self, num_classes: int, encoder_weights: str | None = "imagenet") -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1)
        self.encoder_weights = encoder_weights


def test_a_network_that_takes_encoder_weights_itself_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.checkpoint.trusted_class", lambda target: Own)
    config = {"model": {"_target_": "mine.Own", "encoder_weights": "imagenet"}}
    rebuilt = build_model(
        {"normalization": GREY, "config": config, "labels": {"names": ["a", "b"]}, "model": Own(2).state_dict()}
    )
    assert isinstance(rebuilt, Own) and rebuilt.encoder_weights is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"config": None}, "config: must be a table"),
        ({"config": {"model": [1]}}, "config.model: must be a table of keys and values, not list"),
        ({"config": {"data": "voc"}}, "config.data: must be a table of keys and values, not 'voc'"),
        ({"model": [torch.zeros(1)]}, "model: must be a table of keys and values, not list"),
        ({"model": {"a": 1.5}}, "model.a: should be an instance of Tensor, not 1.5"),
        ({"model": {3: torch.zeros(1)}}, "model.3.[key]: must be a string, not 3"),
        ({"labels": {"names": ["a"]}}, "labels.colors: the key is missing"),
        ({"labels": {"names": "abc", "colors": []}}, "labels.names: must be a list, not 'abc'"),
        ({"labels": {"names": ["a"], "colors": [[0, 0, 300]]}}, "labels.colors.0.2: must be at most 255"),
        ({"labels": {"names": ["a", "a"], "colors": [[0, 0, 0]] * 2}}, "labels: class names repeat"),
        ({"labels": {"names": ["a", "b"], "colors": [[0, 0, 0]]}}, "labels: 2 class names but 1 colour;"),
        ({"normalization": {"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]}}, "normalization.std.1: must be greater than 0"),
        ({"normalization": {"mean": [math.nan] * 3, "std": [0.5] * 3}}, "normalization.mean.0: must be finite"),
        ({"image_size": [64]}, "image_size: must have at least 2 values"),
        ({"image_size": [64.5, 64]}, "image_size.0: must be an integer, not 64.5"),
        ({"image_size": [0, 64]}, "image_size.0: must be at least 1"),
        ({"version": True}, "not a checkpoint of this program"),
        ({"version": "1"}, "not a checkpoint of this program"),
        ({"epoch": "three"}, "epoch: must be an integer, not 'three'"),
        ({"confusion": torch.zeros(2, 2, dtype=torch.int64)}, "confusion: not int64 of 3x3 classes"),
        ({"model": {"a": torch.tensor([1, math.inf])}}, "a has 1 NaN or infinite of 2 values"),
    ],
)
def test_values_of_other_types(tmp_path: Path, checkpoint: dict, change: dict, expected: str) -> None:
    torch.save({"version": VERSION, **checkpoint, **change}, tmp_path / "a.pt")
    with pytest.raises(UserError) as error:
        load_checkpoint(tmp_path / "a.pt")
    assert str(error.value).startswith(f"{tmp_path / 'a.pt'}: ") and expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["x", -1, 0, 1e30, 10**30, [], {}, math.nan])
def test_a_model_of_odd_arguments(checkpoint: dict, value: Any) -> None:
    checkpoint["config"]["model"] = {"_target_": "models.espnet.ESPNet", "alpha2": value}
    with pytest.raises(UserError, match="the checkpoint"):
        build_model(checkpoint)


def test_whole_numbers_are_no_weights(checkpoint: dict) -> None:
    name = "fullconv.weight"
    checkpoint["model"][name] = checkpoint["model"][name].to(torch.int64)
    with pytest.raises(UserError, match=r"fullconv\.weight is \(16, 3, 3, 3\) of torch\.int64 in the file"):
        build_model(checkpoint)
