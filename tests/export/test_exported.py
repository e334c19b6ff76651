"""Networks in files: the same logits as PyTorch, and what the files say of themselves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from data.labels import LabelSet
from engine.normalization import Normalization
from export.exported import as_bytes, load
from export.facts import Facts
from export.onnx_model import OnnxModel, choose_device
from inference.predictor import Predictor
from tests.models.tester import build, noise, settled
from utils.errors import UserError
from utils.value_types import ExportFormat

LABELS = LabelSet(("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
RNG = np.random.default_rng(0)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()


def facts(**changed: object) -> Facts:
    values = {
        "labels": LABELS,
        "normalization": NORMALIZATION,
        "image_size": (40, 48),
        "dynamic": True,
        "preprocessing": False,
        "quantized": "",
        "model": "Small",
        "code": "abc",
        "config": '{"seed": 0}',
    }
    return Facts(**{**values, **changed})  # type: ignore[arg-type]


def photos(count: int, height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), np.uint8)


def by_hand(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Logits of images uint8 (N, H, W, 3), normalised by NumPy."""
    mean, std = np.array(NORMALIZATION.mean), np.array(NORMALIZATION.std)
    given = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        return model(torch.from_numpy(np.ascontiguousarray(given))).numpy()


@pytest.mark.parametrize("dynamic", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pixels_in_and_class_ids_out(dynamic: bool) -> None:
    model = small_network()
    content = as_bytes("onnx", model, facts(preprocessing=True, dynamic=dynamic))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)")
    for shape in [(1, 40, 48), (2, 33, 51)] if dynamic else [(1, 40, 48)]:
        images = photos(*shape)
        ids, logits = session.run(["ids", "logits"], {"images": images})
        expected = by_hand(model, images)
        assert ids.dtype == np.uint8 and ids.shape == shape
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_array_equal(ids, logits.argmax(1))
        assert (ids == expected.argmax(1)).mean() > 0.999


@pytest.mark.parametrize("preprocessing", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["onnx", "torch_export", "torchscript"])
def test_files_are_read_again(tmp_path: Path, kind: ExportFormat, preprocessing: bool) -> None:
    model = small_network()
    own = facts(preprocessing=preprocessing, dynamic=kind != "torchscript")
    path = tmp_path / "file"
    path.write_bytes(as_bytes(kind, model, own))
    network = load(kind, path, own)
    for shape in [(1, 40, 48), (3, 40, 48), *([(2, 65, 33)] if own.dynamic else [])]:
        images = photos(*shape)
        found = network(torch.from_numpy(images).permute(0, 3, 1, 2))
        np.testing.assert_allclose(found.numpy(), by_hand(model, images), atol=1e-5)


def test_what_an_onnx_file_says_of_itself() -> None:
    proto = onnx.load_from_string(as_bytes("onnx", small_network(), facts()))
    onnx.checker.check_model(proto)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(said["labels"]) == {"names": ["a", "b", "c"], "colors": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}
    assert json.loads(said["normalization"]) == {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    assert json.loads(said["image_size"]) == [40, 48] and json.loads(said["config"]) == {"seed": 0}
    assert {key: said[key] for key in ("format_version", "dynamic", "preprocessing", "quantized", "model", "code")} == {
        "format_version": "1", "dynamic": "true", "preprocessing": "false", "quantized": "", "model": "Small",
        "code": "abc",
    }  # fmt: skip
    assert Facts.from_texts(said, "x.onnx") == facts()
    assert str(Path.cwd()).encode() not in proto.SerializeToString()  # exporters note where the code lies


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": "x"}, "was not exported by this program"),
        ({"format_version": "2"}, "format 2 by a newer version"),
        ({"labels": "{"}, "labels: not valid JSON"),
        ({"labels": "[" * 100_000}, "labels: not valid JSON"),
        ({"labels": "[1]"}, "labels: must be a table of keys and values"),
        ({"labels": '{"names": ["a", "a"], "colors": [[0, 0, 0], [0, 0, 1]]}'}, "labels: class names repeat"),
        ({"labels": '{"names": ["a"], "colors": [[0, 0, 256]]}'}, "labels.colors.0.2: must be at most"),
        ({"normalization": '{"mean": [0, 0, 0], "std": [1, 1, 0]}'}, "normalization.std.2: must be greater than 0"),
        ({"normalization": '{"mean": [0, 0, NaN], "std": [1, 1, 1]}'}, "normalization.mean.2: must be finite"),
        ({"image_size": "[32]"}, "image_size: must have at least 2"),
        ({"image_size": "[32, 1e999]"}, "image_size.1: must be an integer"),
        ({"dynamic": "1"}, "dynamic: must be true or false, not 1"),
    ],
)
def test_odd_texts_of_an_exported_file(change: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=r"^x\.onnx: ") as error:
        Facts.from_texts(facts().to_texts() | change, "x.onnx")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda proto: proto.graph.initializer[0].CopyFrom(spoilt(proto.graph.initializer[0])),
            "NaN or infinite logits",
        ),
        (lambda proto: renamed(proto, "labels", {"names": ["a"], "colors": [[0, 0, 0]]}), "not logits of 1 class;"),
    ],
)
def test_an_onnx_file_that_gives_no_logits(tmp_path: Path, damage: Callable[[Any], object], words: str) -> None:
    proto = onnx.load_from_string(as_bytes("onnx", small_network(), facts()))
    damage(proto)
    onnx.save(proto, tmp_path / "a.onnx")
    network = OnnxModel(tmp_path / "a.onnx")
    with pytest.raises(UserError, match=words):
        network(torch.zeros(1, 3, 40, 48))


def spoilt(tensor: Any) -> Any:
    """A tensor with NaN in all places."""
    values = np.full_like(onnx.numpy_helper.to_array(tensor), np.nan)
    return onnx.numpy_helper.from_array(values, tensor.name)


def renamed(proto: Any, key: str, value: object) -> None:
    """Replaces a text of the metadata."""
    (entry,) = [entry for entry in proto.metadata_props if entry.key == key]
    entry.value = json.dumps(value)


def test_what_the_others_say_of_themselves() -> None:
    own = facts(dynamic=False)
    for kind in ("torch_export", "torchscript"):
        said: dict[str, str | bytes] = {"facts.json": ""}
        file = io.BytesIO(as_bytes(kind, small_network(), own))
        if kind == "torchscript":
            torch.jit.load(file, _extra_files=said)
        else:
            torch.export.load(file, extra_files=said)
        assert Facts.from_texts(json.loads(said["facts.json"]), "x") == own


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("enet", {}),
        ("espnet", {}),
        ("efficient_segnet", {}),
        ("dilated_unet", {}),
        ("efficientdet_d0_seg", {}),
        ("efficientdet_d0_seg", {"head": "p2"}),
        ("unet", {}),
        ("separable_unet", {}),
        ("fast_scnn", {}),
        ("deeplabv3plus", {"encoder": "efficientnet_b0"}),
        ("deeplabv3plus", {"encoder": "resnet18"}),
        ("bayesian_segnet", {}),
    ],
)
def test_every_family_in_onnx_at_any_size(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    model = settled(build(name, 3, **options), passes=10)
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes("onnx", model, facts()))
    network = OnnxModel(path)
    for shape in [(1, 64, 96), (3, 33, 45), (1, 32, 32), (2, 128, 200), (1, 101, 67)]:
        images = noise(shape[0], 3, *shape[1:])
        with torch.inference_mode():
            expected, found = model(images), network(images)
        assert found.shape == expected.shape
        assert (found - expected).abs().mean() < 1e-3 * expected.std()  # ties in max pooling may be broken otherwise
        assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.999


def test_a_file_of_one_size_is_not_asked_for_another(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes("onnx", small_network(), facts(dynamic=False)))
    for settings in ({"tta": ["multiscale"]}, {"window": (64, 64)}):
        with pytest.raises(UserError, match="only images of 40x48"):
            Predictor.from_checkpoint(path, **settings)
    windows = Predictor.from_checkpoint(path, window=(40, 48))
    for shape in [(20, 30), (90, 100)]:
        assert windows.predict(photos(1, *shape)[0]).shape == shape


def test_the_device_of_an_onnx_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` asks ONNX Runtime, not PyTorch, what is there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert choose_device("auto").type == "cuda" and choose_device("cpu").type == "cpu"
    with pytest.raises(UserError, match="device=mps"):
        choose_device("mps")
