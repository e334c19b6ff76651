"""A trained network measured on a split, as a user asks for it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from config.nodes import build_dataset
from data.camvid import LABELS as CAMVID_LABELS
from data.camvid import CamVid
from data.cityscapes import Cityscapes
from data.cityscapes_labels import label_set
from data.folder import Folder
from data.synthetic import Synthetic
from data.voc import LABELS as VOC_LABELS
from evaluation.names import checkpoint_part
from inference.predictor import Predictor
from runs.evaluated_data import training_photo_warnings
from tests.conftest import run_command
from tests.data.layouts import make_camvid, make_cityscapes, make_coco, make_folder, make_voc, photo, write
from tests.evaluation.networks import LOADER, evaluate_here, write_network
from tests.in_process import assert_refused, succeeded
from tests.printed import rows_of_table


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def files_of(name: str) -> list[str]:
    """What an evaluation leaves."""
    return [f"{name}.json", *(f"{name}_{file}" for file in FILES)]


FILES = ("confusion_matrix.png", "calibration.png", "worst.png", "samples.csv", "counts.npz")


def counted(predictor: Predictor, samples: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """int64 (C + 1, C) of (photo, mask): row = truth, ignored last; column = prediction."""
    classes = len(predictor.labels)
    counts = np.zeros((classes + 1, classes), np.int64)
    for image, mask in samples:
        np.add.at(counts, (np.minimum(mask, classes), predictor.predict(image)), 1)
    return counts


@pytest.mark.parametrize("root", ["camvid", "moved"])
def test_photos_that_a_network_was_trained_on_are_warned_of(tmp_path: Path, root: str) -> None:
    """Those of a published data set, wherever it lies."""
    data = {"_target_": "data.camvid.CamVid", "root": str(make_camvid(tmp_path / "camvid"))}
    (tmp_path / "moved").symlink_to("camvid")
    warned = []
    for trained_on in ("train", "train_dev", "trainval"):
        data["train_split"] = trained_on
        write_network(tmp_path / "net.pt", CAMVID_LABELS, data, [photo(0), photo(1)])
        for split in ("train", "val"):
            done = succeeded(evaluate_here("checkpoint=net.pt", f"data.root={root}", f"split={split}", cwd=tmp_path))
            if f"split={split}: the network was trained on photos of it (data.train_split={trained_on})" in done.stderr:
                warned.append((trained_on, split))
    assert warned == [("train", "train"), ("train_dev", "train"), ("trainval", "train"), ("trainval", "val")]


def test_the_figures_of_a_run_are_those_of_its_own_validation(tmp_path: Path, run: Path, finished_run: Path) -> None:
    done = succeeded(run_command("evaluate.py", "checkpoint=run", cwd=tmp_path))
    assert files_in(run) - files_in(finished_run) == {f"evaluation/{name}" for name in files_of("val")}
    for name in files_in(finished_run):
        assert (run / name).read_bytes() == (finished_run / name).read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

    found = json.loads((run / "evaluation" / "val.json").read_text())
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val/miou"]))
    assert found["epoch"] == int(best["epoch"])
    for name in ("miou", "dice", "pixel_accuracy"):
        assert found[name] == pytest.approx(float(best[f"val/{name}"]), abs=1e-6)
    names = Synthetic.labels.names
    assert list(found["classes"]["iou"]) == list(names)
    for name, iou in found["classes"]["iou"].items():
        cell = best[f"val/iou/{name}"]
        assert iou == (pytest.approx(float(cell), abs=1e-6) if cell else None)

    dataset = Synthetic((32, 32), "val")
    samples = [(dataset[i].image, dataset[i].mask) for i in range(8)]
    confusion = np.array(found["confusion"])
    assert confusion.sum() == sum((mask != 255).sum() for _, mask in samples)
    if not torch.cuda.is_available():  # where the command would have taken it, and half the digits
        np.testing.assert_array_equal(confusion, counted(Predictor.from_checkpoint(run), samples)[:-1])

    assert f"val, 8 samples, epoch {found['epoch']}" in done.stderr
    shown = {row[0]: row[1:] for row in rows_of_table(done.stderr)}
    for i, name in enumerate(names):
        share, iou = confusion[i].sum() / confusion.sum(), found["classes"]["iou"][name]
        assert shown[name][:2] == [f"{share:.2%}", "-" if iou is None else f"{iou:.4f}"]
    assert shown["miou"] == [f"{found['miou']:.4f}"] == [shown["mean"][1]]
    assert shown["pixel_accuracy"] == [f"{found['pixel_accuracy']:.4f}"]
    figure = np.asarray(Image.open(run / "evaluation" / "val_confusion_matrix.png").convert("RGB"))
    assert figure.shape[0] > 300 and len(np.unique(figure.reshape(-1, 3), axis=0)) > 20


def test_scores_agree_with_numpy_on_the_masks_that_are_predicted(tmp_path: Path, street: Path) -> None:
    done = succeeded(evaluate_here("checkpoint=street.pt", cwd=tmp_path))
    found = json.loads((tmp_path / "street_evaluation" / "val.json").read_text())
    samples = []
    for i in range(3):
        image, raw = (np.asarray(Image.open(tmp_path / "camvid" / f / f"{i}.png")) for f in ("val", "valannot"))
        samples.append((image, np.where(raw == 11, 255, raw)))
    counts = counted(Predictor.from_checkpoint(street), samples)
    confusion, void = counts[:-1], counts[-1]
    assert (confusion.sum(0) > 0).sum() >= 6 and void.sum() > 500, "an example that shows little"
    np.testing.assert_array_equal(found["confusion"], confusion)
    right, present, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    iou = [r / (p + q - r) if p + q else None for r, p, q in zip(right, present, predicted, strict=True)]
    dice = [2 * r / (p + q) if p + q else None for r, p, q in zip(right, present, predicted, strict=True)]
    accuracy = [r / p if p else None for r, p in zip(right, present, strict=True)]
    with_void = [r / (p + q + v - r) for r, p, q, v in zip(right, present, predicted, void, strict=True) if p + q + v]

    def mean(values: list[float | None]) -> float:
        known = [value for value in values if value is not None]
        return sum(known) / len(known)

    assert accuracy[9] is None and accuracy[10] is None
    for key, values in {"iou": iou, "dice": dice, "accuracy": accuracy}.items():
        assert list(found["classes"][key].values()) == pytest.approx(values)
    assert found["miou"] == pytest.approx(mean(iou))
    assert found["dice"] == pytest.approx(mean(dice))
    assert found["class_accuracy"] == pytest.approx(mean(accuracy))
    assert found["pixel_accuracy"] == pytest.approx(right.sum() / confusion.sum())
    weighted = sum(value * p for value, p in zip(iou, present, strict=True) if value is not None)
    assert found["frequency_weighted_iou"] == pytest.approx(weighted / confusion.sum())
    assert found["benchmark"] == {
        "miou, void ignored": pytest.approx(mean(iou)),
        "miou, void as false positives": pytest.approx(mean(with_void)),
        "class-average accuracy": pytest.approx(mean(accuracy)),
    }
    for name, value in found["benchmark"].items():
        assert f"| {name} " in done.stderr and f" {value:.4f} |" in done.stderr


@pytest.mark.parametrize(
    ("words", "settings", "name"),
    [
        pytest.param(["tta=flip"], {"tta": ["flip"]}, "val_flip", marks=pytest.mark.slow),
        (
            ["tta=[flip,multiscale]", "window=[40,32]", "overlap=0.5"],
            {"tta": ["flip", "multiscale"], "window": (40, 32), "overlap": 0.5},
            "val_flip_multiscale_window40x32_overlap0.5",
        ),
    ],
)
def test_views_and_windows(tmp_path: Path, street: Path, words: list[str], settings: dict[str, Any], name: str) -> None:
    assert evaluate_here("checkpoint=street.pt", *words, cwd=tmp_path).returncode == 0
    found = json.loads((tmp_path / "street_evaluation" / f"{name}.json").read_text())
    predictor = Predictor.from_checkpoint(street, **settings)
    dataset = CamVid(str(tmp_path / "camvid"), "val")
    samples = [(dataset[i].image, dataset[i].mask) for i in range(3)]
    confusion = np.array(found["confusion"])
    expected = counted(predictor, samples)[:-1]
    assert np.abs(confusion - expected).sum() <= 4  # of pixels on the edge, sums in another order decide
    assert np.abs(confusion - counted(Predictor.from_checkpoint(street), samples)[:-1]).sum() > 20


def test_the_samples_one_by_one_worst_first(tmp_path: Path, street: Path) -> None:
    assert evaluate_here("checkpoint=street.pt", cwd=tmp_path, draws=True).returncode == 0
    folder = tmp_path / "street_evaluation"
    with (folder / "val_samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    dataset, predictor = CamVid(str(tmp_path / "camvid"), "val"), Predictor.from_checkpoint(street)
    assert {row["name"] for row in rows} == {dataset.name(i) for i in range(3)}
    assert [float(row["miou"]) for row in rows] == sorted(float(row["miou"]) for row in rows)
    for row in rows:
        image, mask, name = dataset[int(row["number"])]
        said, valid = predictor.predict(image), mask != 255
        assert row["name"] == name
        assert float(row["pixel_accuracy"]) == pytest.approx((said == mask)[valid].mean(), abs=1e-5)
        classes = np.union1d(said[valid], mask[valid])
        iou = [((said == c) & (mask == c))[valid].sum() / ((said == c) | (mask == c))[valid].sum() for c in classes]
        assert float(row["miou"]) == pytest.approx(np.mean(iou), abs=1e-5)
        confidence = predictor.probabilities(image).max(0)[valid].mean()
        assert float(row["confidence"]) == pytest.approx(confidence, abs=1e-4)
    for name in ("worst", "calibration"):
        assert min(Image.open(folder / f"val_{name}.png").size) > 300


def test_the_pixels_of_each_sample_and_class(tmp_path: Path, street: Path) -> None:
    assert evaluate_here("checkpoint=street.pt", cwd=tmp_path).returncode == 0
    folder = tmp_path / "street_evaluation"
    stored = np.load(folder / "val_counts.npz", allow_pickle=False)
    dataset, predictor = CamVid(str(tmp_path / "camvid"), "val"), Predictor.from_checkpoint(street)
    assert stored["names"].tolist() == [dataset.name(i) for i in range(3)]
    assert stored["classes"].tolist() == list(dataset.labels.names)
    for i in range(3):
        image, mask, _ = dataset[i]
        said, valid = predictor.predict(image), mask != 255
        for c in range(11):
            assert stored["intersections"][i, c] == ((said == c) & (mask == c) & valid).sum()
            assert stored["unions"][i, c] == (((said == c) | (mask == c)) & valid).sum()
    total = stored["intersections"].sum(0) / np.maximum(stored["unions"].sum(0), 1)
    known = total[stored["unions"].sum(0) > 0]
    assert json.loads((folder / "val.json").read_text())["miou"] == pytest.approx(known.mean())


def cityscapes_network(folder: Path) -> Path:
    data = {"_target_": "data.cityscapes.Cityscapes", "root": str(make_cityscapes(folder / "cs")), "classes": 19}
    return write_network(folder / "net.pt", label_set(19), data, [photo(0), photo(1)])


def test_the_scores_of_the_benchmark_of_cityscapes(tmp_path: Path) -> None:
    predictor = Predictor.from_checkpoint(cityscapes_network(tmp_path))
    assert evaluate_here("checkpoint=net.pt", cwd=tmp_path).returncode == 0
    found = json.loads((tmp_path / "net_evaluation" / "val.json").read_text())
    dataset = Cityscapes(str(tmp_path / "cs"), "val")
    expected = dataset.scores()
    for i in range(len(dataset)):
        expected.add(i, predictor.predict(dataset[i].image))
    results = expected.results(np.array(found["confusion"]), np.zeros(19, np.int64))
    assert {"class_iiou", "category_iou", "category_iiou", "iiou/person"} <= results.keys()
    assert found["benchmark"] == {k: None if np.isnan(v) else pytest.approx(v) for k, v in results.items()}

    for path in (tmp_path / "cs" / "gtFine" / "val").rglob("*_instanceIds.png"):
        path.unlink()
    assert evaluate_here("checkpoint=net.pt", "output=without", cwd=tmp_path).returncode == 0
    (path,) = (tmp_path / "without").glob("*.json")
    without = json.loads(path.read_text())["benchmark"]
    assert "class_iou" in without and not any("iiou" in name for name in without)


def test_a_split_whose_masks_say_nothing(tmp_path: Path) -> None:
    """As those of the test split of Cityscapes."""
    cityscapes_network(tmp_path)
    for kind in ("leftImg8bit", "gtFine"):
        shutil.copytree(tmp_path / "cs" / kind / "val", tmp_path / "cs" / kind / "test")
    for path in (tmp_path / "cs" / "gtFine" / "test").rglob("*_labelIds.png"):
        write(path, np.zeros((64, 96), np.uint8))
    assert_refused(evaluate_here("checkpoint=net.pt", "split=test", cwd=tmp_path), "'test' has no labelled pixel")
    assert not (tmp_path / "net_evaluation").exists()


def test_keys_of_the_data_are_those_of_the_run_until_typed(tmp_path: Path, run: Path) -> None:
    found = {}
    for name, words in {
        "as it was": [],
        "limit": ["data.limit=2"],
        "split": ["split=train", "data.limit=3"],
        "option": ["data=synthetic", "data.image_size=[32,32]", "data.limit=8", "data.num_workers=0"],
        "size": ["data.image_size=[32,64]", "data.size=[32,32]"],
    }.items():
        done = succeeded(evaluate_here("checkpoint=run", *words, f"output={name}", cwd=tmp_path))
        (path,) = (tmp_path / name).glob("*.json")
        found[name] = json.loads(path.read_text())
        count = np.sum(found[name]["confusion"]) // 32**2
        assert f"{path.stem.partition('_')[0]}, {count} samples" in done.stderr
        assert count == {"limit": 2, "split": 3}.get(name, 8)
        split, checkpoint, *different = path.stem.split("_")
        assert re.fullmatch("of-run-[0-9a-f]{8}", checkpoint) and split == found[name]["split"]
        assert different == {"limit": ["limit2"], "split": ["limit3"], "size": ["32x64"]}.get(name, [])
    assert found["as it was"]["confusion"] == found["option"]["confusion"] != found["size"]["confusion"]
    assert found["limit"]["data"] == {**found["as it was"]["data"], "limit": 2}
    assert found["size"]["data"]["image_size"] == [32, 64]
    assert not (run / "evaluation").exists()


def test_data_of_another_set_with_the_same_classes(tmp_path: Path) -> None:
    make_coco(tmp_path / "coco")
    make_voc(tmp_path / "voc")
    data = {"_target_": "data.voc.VOC", "root": "voc", "download": False}
    write_network(tmp_path / "net.pt", VOC_LABELS, data, [photo(0), photo(1)])
    words = ["checkpoint=net.pt", "data=coco", "data.root=coco", "data.image_size=[32,48]", "data.num_workers=0"]
    done = evaluate_here(*words, cwd=tmp_path)
    assert done.returncode == 2 and "error: the network has 21 classes and the data set has 81;" in done.stderr
    assert "aeroplane, motorbike, sofa" in done.stderr
    done = succeeded(evaluate_here(*words, "data.classes=21", cwd=tmp_path))
    assert "val of coco, 1 sample," in done.stderr  # the others show none of VOC's


@pytest.mark.parametrize(
    ("checkpoint", "words", "expected"),
    [
        ("run", [], "run/evaluation"),
        ("run/", [], "run/evaluation"),
        ("run/checkpoints/last.pt", [], "run/evaluation"),
        ("no run/checkpoints/best.pt", [], "no run/checkpoints/best_evaluation"),
        ("it's (loose), [x].pt", [], "it's (loose), [x]_evaluation"),
        ("run", ["output=a, b/c"], "a, b/c"),
    ],
)
def test_where_the_figures_go(tmp_path: Path, run: Path, checkpoint: str, words: list[str], expected: str) -> None:
    path = tmp_path / checkpoint
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / "checkpoints" / "best.pt", path)
    before = files_in(tmp_path)
    done = succeeded(evaluate_here(f"checkpoint={checkpoint}", "data.limit=1", *words, cwd=tmp_path))
    name = "val_last_limit1" if "last.pt" in checkpoint else "val_limit1"
    if words:  # a folder that other checkpoints may share
        name = f"val_{checkpoint_part(str(path), in_own_folder=False)}_limit1"
    written = {f"{expected}/{file}" for file in files_of(name)}
    assert files_in(tmp_path) - before == written
    assert all(f"wrote {name}" in done.stderr for name in written)


ABSENT = "cuda" if torch.backends.mps.is_available() else "mps"


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["checkpoint=nowhere"], ["checkpoint=nowhere: there is no such run or file", "weights/ has"]),
        (["checkpoint=camvid"], ["camvid: not a run folder", "best.pt"]),
        (["checkpoint=camvid/val/0.png"], ["0.png: not a checkpoint"]),
        ([], ["checkpoint is missing"]),
        (["checkpoint=street.pt", "data.rot=x"], ["data.rot", "did you mean 'data.root'?", "on the command line"]),
        (["checkpoint=street.pt", "data.limt=2"], ["data.limt", "did you mean 'data.limit'?"]),
        (["checkpoint=street.pt", "data.limit=0"], ["data.limit=0", "at least 1"]),
        (["checkpoint=street.pt", "data.mean=[0,0,0]", "data.std=[1,1,1]"], ["data.mean=[0,0,0]: has no effect"]),
        (["checkpoint=street.pt", "data.root=nowhere"], ["no folder nowhere/val", "data.root="]),
        (["checkpoint=street.pt", "splt=val"], ["splt: unknown key", "did you mean 'split'?"]),
        (["checkpoint=street.pt", "split=vall"], ["no split 'vall'", "did you mean 'val'?"]),
        (["checkpoint=street.pt", "data=camvd"], ["data=camvd", "did you mean 'camvid'?"]),
        (["checkpoint=street.pt", "data=synthetic"], ["11 classes", "has 9", "tree, fence", "choose data"]),
        (["checkpoint=street.pt", "data.image_size=[8,8]"], ["data.image_size", "at least 32"]),
        (["checkpoint=street.pt", f"device={ABSENT}"], [f"the device '{ABSENT}' is not available"]),
        (["checkpoint=street.pt", "overlap=0.5"], ["overlap= has no effect without windows"]),
        (["checkpoint=street.pt", "device=gpu"], ["device=gpu", "'auto', 'cpu', 'cuda' or 'mps'"]),
    ],
)
def test_mistakes(tmp_path: Path, street: Path, words: list[str], fragments: list[str]) -> None:
    before = files_in(tmp_path)
    assert_refused(evaluate_here(*words, cwd=tmp_path), *fragments)
    assert files_in(tmp_path) == before


def test_camvid_for_a_network_of_generated_scenes(tmp_path: Path, run: Path, camvid: Path) -> None:
    done = evaluate_here("checkpoint=run", "data=camvid", f"data.root={camvid}", cwd=tmp_path)
    assert_refused(done, "9 classes", "has 11", "vegetation, person", "choose data with the classes")
    assert not (run / "evaluation").exists()


def test_a_broken_file_is_named(tmp_path: Path, street: Path) -> None:
    (tmp_path / "camvid" / "val" / "1.png").write_bytes(b"")
    assert_refused(evaluate_here("checkpoint=street.pt", cwd=tmp_path), "camvid/val/1.png: the file is empty")
    assert not (tmp_path / "street_evaluation").exists()


def test_one_class_too_many_is_told(tmp_path: Path) -> None:
    cityscapes_network(tmp_path)
    done = evaluate_here("checkpoint=net.pt", "data.classes=20", cwd=tmp_path)
    assert_refused(done)
    assert "the network has 19 classes and the data set has 20; they differ in misc" in done.stderr


@pytest.mark.parametrize("output", ["street.pt", "/proc/nowhere"])
def test_an_output_that_cannot_be_written(tmp_path: Path, street: Path, output: str) -> None:
    done = evaluate_here("checkpoint=street.pt", f"output={output}", cwd=tmp_path)
    warning, error = done.stderr.splitlines()
    assert done.returncode == 2 and "do not occur in 'val'" in warning
    assert error.startswith(f"error: {output}: nothing can be written there")


def test_a_split_in_a_folder_of_its_own(tmp_path: Path) -> None:
    make_folder(tmp_path / "own")
    (tmp_path / "own" / "by night").mkdir()
    (tmp_path / "own" / "by night" / "rain.txt").write_text("photo 1\n")
    data = {"_target_": "data.folder.Folder", "root": "own", "labels": None, "val_share": 0.2}
    write_network(tmp_path / "net.pt", Folder(str(tmp_path / "own"), "train").labels, data, [photo(0)])
    succeeded(evaluate_here("checkpoint=net.pt", "split=by night/rain", cwd=tmp_path))


HELD_OUT = {"train_split": "train", "folds": 2, "fold": 0}


@pytest.mark.parametrize(
    ("trained_on", "measured", "split", "warns"),
    [
        (HELD_OUT, HELD_OUT, "fold", False),
        (HELD_OUT, HELD_OUT, "val", False),
        (HELD_OUT, HELD_OUT, "train", True),
        (HELD_OUT, HELD_OUT, "other_folds", True),
        (HELD_OUT, HELD_OUT | {"fold": 1}, "fold", True),
        (HELD_OUT, HELD_OUT | {"folds": 3}, "fold", True),
        (HELD_OUT | {"train_split": "trainval"}, HELD_OUT, "val", True),
        ({"train_split": "train"}, HELD_OUT, "fold", True),
        ({"train_split": "train"}, HELD_OUT | {"train_split": "val"}, "fold", False),
    ],
)
def test_photos_that_the_network_of_a_fold_was_trained_on(
    tmp_path: Path, trained_on: dict[str, Any], measured: dict[str, Any], split: str, warns: bool
) -> None:
    data = {**LOADER, "_target_": "data.camvid.CamVid", "root": str(make_camvid(tmp_path / "camvid"))}
    node = data | measured
    warnings = training_photo_warnings(build_dataset(node, split), node, split, [data | trained_on])
    assert [line.partition(" (")[0] for line in warnings] == [
        f"split={split}: the network was trained on photos of it"
    ] * warns


@pytest.mark.parametrize(
    ("trained", "split"), [("all", "val"), ("all", "all"), ("train", "all"), ("training", "train"), ("train", "Train")]
)
def test_a_share_of_a_folder_that_was_trained_on(tmp_path: Path, trained: str, split: str) -> None:
    """All photos include those of the training, and splits have several names. Photos of someone else are others."""
    root = str(make_folder(tmp_path / "own"))
    node = {**LOADER, "_target_": "data.folder.Folder", "root": root, "train_split": trained}
    another = node | {"root": "elsewhere"}
    assert training_photo_warnings(Folder(root, split), node, split, [another]) == []
    (line,) = training_photo_warnings(Folder(root, split), node, split, [another, node])
    assert line.startswith(f"split={split}: the network was trained on photos of it (data.train_split={trained});")


def test_splits_that_checkpoints_name_may_be_anything() -> None:
    node: dict[str, Any] = {"_target_": "data.synthetic.Synthetic"}
    samples = Synthetic((32, 32), "val", val_length=1)
    runs_data = [node | {"train_split": split} for split in (None, ["val"], "val")]
    (line,) = training_photo_warnings(samples, node, "val", runs_data)
    assert "(data.train_split=val)" in line
