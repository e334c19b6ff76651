"""Networks exported to files that run without this program, as a user asks for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import runs.exporting
from data.synthetic import Synthetic
from engine.checkpoint import load_checkpoint, save_checkpoint
from evaluate import evaluate
from infer import infer
from inference.predictor import Predictor
from tests.conftest import run_command
from tests.in_process import assert_refused, run_here, succeeded
from tests.models.tester import build, settled
from tests.printed import rows_of_table
from tools.export import export
from utils.errors import UserError

RNG = np.random.default_rng(0)


def export_here(run: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(export, "export", f"checkpoint={run}", *words, cwd=cwd)


def foreign_file(path: Path) -> None:
    """Write a valid ONNX file of another program."""
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    node = onnx.helper.make_node("Relu", ["images"], ["logits"])
    graph = onnx.helper.make_graph([node], "other", [images], [logits])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture(scope="module")
def light(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained network that is exported quickly."""
    checkpoint = load_checkpoint(finished_run)
    checkpoint["config"]["model"] = {"_target_": "models.separable_unet.SeparableUNet"}
    checkpoint["model"] = settled(build("separable_unet", 9), passes=10).state_dict()
    path = tmp_path_factory.mktemp("light") / "light.pt"
    save_checkpoint(path, checkpoint)
    return path


def test_evaluate_measures_the_file_as_the_checkpoint(light: Path, exported: Path, tmp_path: Path) -> None:
    measured = []
    for name, checkpoint in (("run", light), ("file", exported)):
        words = [f"checkpoint={checkpoint}", "data.limit=4", f"output={name}"]
        succeeded(run_here(evaluate, "evaluate", *words, cwd=tmp_path))
        (result,) = (tmp_path / name).glob("*.json")
        measured.append(json.loads(result.read_text()))
    run, file = measured
    assert file["samples"] == run["samples"] == 4
    for key in ("miou", "pixel_accuracy", "boundary_iou", "calibration_error"):
        assert file[key] == pytest.approx(run[key], abs=1e-3), key


def test_evaluate_measures_the_file_at_its_own_size(light: Path, exported: Path, tmp_path: Path) -> None:
    """A file may have been exported for another size than that of the training, with image_size=[H,W]."""
    proto = onnx.load(exported)
    for entry in proto.metadata_props:
        if entry.key == "image_size":
            entry.value = "[48, 64]"
    onnx.save(proto, tmp_path / "larger.onnx")
    measured = []
    for name, *words in (("run", f"checkpoint={light}", "data.image_size=[48,64]"), ("file", "checkpoint=larger.onnx")):
        succeeded(run_here(evaluate, "evaluate", *words, "data.limit=4", f"output={name}", cwd=tmp_path))
        (result,) = (tmp_path / name).glob("*.json")
        measured.append(json.loads(result.read_text()))
    run, file = measured
    assert file["data"]["image_size"] == [48, 64]
    for key in ("miou", "pixel_accuracy"):
        assert file[key] == pytest.approx(run[key], abs=1e-3), key


@pytest.fixture(scope="module")
def exported(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `light` in an ONNX file, which tests must not change."""
    folder = tmp_path_factory.mktemp("exported")
    succeeded(export_here(light, "output=model.onnx", cwd=folder))
    return folder / "model.onnx"


def test_the_file_gives_the_masks_of_the_checkpoint(tmp_path: Path, light: Path, exported: Path) -> None:
    """Through the real commands, at the photo's own size."""
    photo = tmp_path / "a photo (1).png"
    Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(photo)
    succeeded(run_command("infer.py", f"checkpoint={exported}", f"input={photo}", "output=m.png", cwd=tmp_path))
    expected = Predictor.from_checkpoint(light).predict(np.asarray(Image.open(photo)))
    mask = Image.open(tmp_path / "m.png")
    assert mask.mode == "P" and (np.asarray(mask) == expected).mean() >= 0.999
    assert (tmp_path / "m_overlay.png").is_file()


@pytest.mark.parametrize("settings", [{}, {"tta": ["flip", "multiscale"]}, {"window": (32, 40), "tta": ["flip"]}])
def test_views_and_windows(light: Path, exported: Path, settings: dict) -> None:
    image = RNG.integers(0, 256, (70, 91, 3), np.uint8)
    found = Predictor.from_checkpoint(exported, **settings).probabilities(image)
    expected = Predictor.from_checkpoint(light, **settings).probabilities(image)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_pixels_in_and_ids_out(tmp_path: Path, light: Path) -> None:
    """The comparison is printed, and the predictor runs such a file too."""
    done = succeeded(export_here(light, "preprocessing=true", "output=new/m.onnx", cwd=tmp_path))
    table = rows_of_table(done.stderr)
    assert [row[:2] for row in table[1:]] == [["32x32", "1"], ["32x32", "2"], ["33x33", "1"], ["33x33", "2"]]
    for _, _, difference, deviation, equal, *_ in table[1:]:
        assert float(difference) < 1e-3 * float(deviation) and float(equal.rstrip("%")) >= 99.9
    assert "4 validation samples of Synthetic" in done.stderr and "wrote new/m.onnx" in done.stderr
    image = RNG.integers(0, 256, (50, 70, 3), np.uint8)
    for settings in ({}, {"tta": ["flip"]}):
        found = Predictor.from_checkpoint(tmp_path / "new" / "m.onnx", **settings).predict(image)  # type: ignore[arg-type]
        expected = Predictor.from_checkpoint(light, **settings).predict(image)  # type: ignore[arg-type]
        assert (found == expected).mean() >= 0.999


def test_metadata_without_this_program(exported: Path) -> None:
    said = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert json.loads(said["labels"])["names"][:2] == ["sky", "building"]
    assert json.loads(said["image_size"]) == [32, 32] and said["dynamic"] == "true" and said["model"] == "SeparableUNet"
    assert json.loads(said["config"])["data"]["limit"] == 8
    assert json.loads(said["normalization"])["mean"] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param("torch_export", "model.pt2", marks=pytest.mark.slow), ("torchscript", "model.ts.pt")],
)
def test_formats_of_torch(tmp_path: Path, light: Path, kind: str, name: str) -> None:
    done = succeeded(export_here(light, f"format={kind}", f"output={name}", "preprocessing=true", cwd=tmp_path))
    assert {row[4] for row in rows_of_table(done.stderr)[1:]} == {"100.000%"}
    assert ("one image of 32x32" in done.stderr) == (kind == "torchscript")
    with pytest.raises(UserError, match=r"an exported file, not a checkpoint; .* runs only .onnx files"):
        Predictor.from_checkpoint(tmp_path / name)


@pytest.mark.slow
def test_one_size_where_it_is_wished(tmp_path: Path, light: Path) -> None:
    done = export_here(light, "dynamic=false", "image_size=[40,64]", "output=m.onnx", cwd=tmp_path)
    assert done.returncode == 0 and "one image of 40x64" in done.stderr, done.stderr
    shape = onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 3, 40, 64]
    image = RNG.integers(0, 256, (80, 90, 3), np.uint8)
    assert Predictor.from_checkpoint(tmp_path / "m.onnx", window=(40, 64)).predict(image).shape == (80, 90)
    with pytest.raises(Exception, match=r"takes only images of 40x64: .* export it with dynamic=true"):
        Predictor.from_checkpoint(tmp_path / "m.onnx", tta=["multiscale"]).predict(image)


def test_photos_of_ones_own(tmp_path: Path, light: Path) -> None:
    folder = tmp_path / "photos (own)"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(folder / f"{i}.jpg")
    done = export_here(light, "format=torchscript", f"images={folder}", cwd=tmp_path)
    assert done.returncode == 0 and f"2 photos of {folder}" in done.stderr, done.stderr
    assert (light.parent / "model.ts.pt").is_file()
    assert_refused(export_here(light, "output=n.onnx", "images=nowhere", cwd=tmp_path), "images=nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["light", "finished_run"])
def test_eight_bits(tmp_path: Path, request: pytest.FixtureRequest, source: str) -> None:
    run = request.getfixturevalue(source)
    words = ["quantize=int8", "calibration=6", "output=small.onnx"]
    done = succeeded(export_here(run, *words, cwd=tmp_path))
    (before,), (after,), (difference,) = (
        [row for row in rows_of_table(done.stderr) if row[0] == name] for name in ("float32", "int8", "difference")
    )
    assert "calibrating on 6 training samples" in done.stderr and "8 validation samples" in done.stderr
    assert float(difference[1]) == pytest.approx(float(after[1]) - float(before[1]), abs=2e-4)
    assert abs(float(difference[1])) < 0.03
    assert float(after[3].split()[0]) < 0.7 * float(before[3].split()[0])
    proto = onnx.load(tmp_path / "small.onnx")
    assert {entry.key: entry.value for entry in proto.metadata_props}["quantized"] == "int8"
    assert any(weight.data_type == onnx.TensorProto.INT8 for weight in proto.graph.initializer)
    image = Synthetic((50, 70), "val")[9].image
    found = Predictor.from_checkpoint(tmp_path / "small.onnx").predict(image)
    assert (found == Predictor.from_checkpoint(run).predict(image)).mean() > 0.7


def test_a_file_that_does_not_agree_is_not_written(
    tmp_path: Path, light: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_text("the one before")
    monkeypatch.setattr(runs.exporting, "show_agreement", lambda *_: 0.9985)
    done = export_here(light, "output=m.onnx", "overwrite=true", "dynamic=false", cwd=tmp_path)
    assert done.returncode == 1 and "m.onnx is not written" in done.stderr and "99.85%" in done.stderr, done.stderr
    assert (tmp_path / "m.onnx").read_text() == "the one before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["output=m.pt"], ["output=m.pt", "must end in .onnx"]),
        (["output=m.onnx", "format=torch_export"], ["output=m.onnx", "must end in .pt2"]),
        (["format=tflite"], ["format=tflite", "'onnx'"]),
        (["quantize=int4"], ["quantize=int4", "'int8'"]),
        (["quantize=int8", "format=torchscript"], ["quantize=int8", "format=onnx"]),
        (["image_size=[16,64]"], ["image_size", "at least 32"]),
        (["calibration=0"], ["calibration=0"]),
        (["output=/proc/nowhere/m.onnx"], ["nothing can be written there"]),
        (["output=m.onnx", "quantize=int8", "data=camvid", "data.root=nowhere"], ["nowhere"]),
        (["checkpiont=x"], ["checkpiont", "did you mean"]),
    ],
)
def test_mistakes(tmp_path: Path, finished_run: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(export_here(finished_run, *words, cwd=tmp_path), *fragments)
    assert not list(tmp_path.rglob("m*"))


def test_without_its_packages(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.checks.find_spec", lambda name: None if name.startswith("onnx") else name)
    done = export_here(finished_run, "output=m.onnx", cwd=tmp_path)
    assert_refused(done, "format=onnx: onnx and onnxscript and onnxruntime not installed", "requirements-export.txt")


def test_what_exists_is_kept(tmp_path: Path, finished_run: Path) -> None:
    (tmp_path / "m.onnx").write_text("mine")
    assert_refused(export_here(finished_run, "output=m.onnx", cwd=tmp_path), "m.onnx exists already", "overwrite=true")
    assert (tmp_path / "m.onnx").read_text() == "mine"


def test_onnx_files_that_do_not_fit(tmp_path: Path, exported: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / "x.png")
    foreign_file(tmp_path / "foreign.onnx")
    (tmp_path / "damaged.onnx").write_bytes(exported.read_bytes()[:5000])
    proto = onnx.load(exported)
    for entry in proto.metadata_props:
        if entry.key == "format_version":
            entry.value = "99"
    onnx.save(proto, tmp_path / "newer.onnx")
    for name, fragment in {
        "foreign.onnx": "was not exported by this program",
        "damaged.onnx": "not an ONNX file, or a damaged one",
        "newer.onnx": "format 99 by a newer version",
        "none.onnx": "there is no such run or file",
    }.items():
        done = run_here(infer, "infer", f"checkpoint={name}", "input=x.png", "output=m.png", cwd=tmp_path)
        assert_refused(done, name, fragment)
        assert not (tmp_path / "m.png").exists()
