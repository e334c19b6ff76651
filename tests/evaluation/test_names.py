"""Which samples are measured, and that no measurement takes the place of another one."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config.validation import LOADER_KEYS
from data.fingerprint import fingerprint
from data.folder import Folder
from evaluation.names import (
    LONGEST,
    UNMEASURED,
    checkpoint_part,
    different_parts,
    ensemble_folder,
    file_stem,
    output_folder,
)
from tests.data.layouts import make_folder, photo, write
from tests.evaluation.networks import evaluate_here, write_network
from tests.in_process import assert_refused, succeeded

ALL = {f"images/photo {i}.jpg" for i in range(10)}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network for a folder of ten photos, without lists, and other folders with the same classes."""
    for root in ("own", "a/photos", "b/photos"):
        make_folder(tmp_path / root)
    data = {"_target_": "data.folder.Folder", "root": "own", "labels": None, "val_share": 0.2, "limit": 1}
    return write_network(tmp_path / "net.pt", Folder(str(tmp_path / "own"), "train").labels, data, [photo(0)])


def measured(folder: Path) -> dict[str, set[str]]:
    """The samples of each measurement in a folder, by its name."""
    found = {}
    for path in folder.glob("*_samples.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            found[path.name.removesuffix("_samples.csv")] = {row["name"] for row in csv.DictReader(file)}
    assert found.keys() == {path.stem for path in folder.glob("*.json")}
    return found


def test_a_folder_that_is_not_the_runs_is_measured_whole_and_beside(tmp_path: Path, network: Path) -> None:
    """Neither a share of it nor the run's limit, and in files of its own, also where two folders have one name."""
    for words in ([], ["data.root=a/photos"], ["data.root=b/photos"]):
        done = succeeded(evaluate_here("checkpoint=net.pt", *words, cwd=tmp_path))
        if words:
            root = words[0].partition("=")[2]
            line = f"{root} has no lists or folders for its splits, so all photos are measured (10); split=val measures"
            assert sum(line in said for said in done.stderr.splitlines()) == 1
            assert f"all of {root}, 10 samples" in done.stderr
    found = measured(tmp_path / "net_evaluation")
    (own,) = found.pop("val")
    assert own in ALL and list(found.values()) == [ALL, ALL]
    assert all(name.startswith("all_root-photos-") for name in found)


def test_the_moved_data_of_a_run_are_its_own(tmp_path: Path, network: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "best.pt"
    checkpoint.parent.mkdir(parents=True)
    shutil.copyfile(network, checkpoint)
    validated = fingerprint(Folder(str(tmp_path / "own"), "val"))
    (tmp_path / "run" / "summary.json").write_text(
        json.dumps({"samples": {"train": validated, "validation": validated}})
    )
    (tmp_path / "own").rename(tmp_path / "moved")
    for path in (tmp_path / "a/photos/images").iterdir():
        write(path, photo(1, (24, 40)))
    for path in (tmp_path / "a/photos/masks").iterdir():
        write(path, np.zeros((24, 40), np.uint8))
    for words in (["checkpoint=run/checkpoints/best.pt"], ["checkpoint=run"], ["runs=run"]):
        done = evaluate_here(*words, "data.root=moved", cwd=tmp_path)
        assert done.returncode == 0 and "so all photos are measured" not in done.stderr, done.stderr
    assert {len(samples) for samples in measured(tmp_path / "run" / "evaluation").values()} == {2}
    done = evaluate_here("checkpoint=run/checkpoints/best.pt", "data.root=a/photos", cwd=tmp_path)
    assert done.returncode == 0 and "all of a/photos, 10 samples" in done.stderr, done.stderr


def test_a_share_is_named(tmp_path: Path, network: Path) -> None:
    """Two of ten photos are 20 %; the limit of the run's own data holds until another one is typed."""
    done = evaluate_here("checkpoint=net.pt", cwd=tmp_path)
    assert "split=val: 2 photos of own, a share chosen by their names (data.val_share=0.2); split=all" in done.stderr
    assert "data.limit=1: the first 1 of 2 samples, as in the run" in done.stderr
    done = evaluate_here("checkpoint=net.pt", "split=val", "data.root=a/photos", cwd=tmp_path)
    assert "split=val: 2 photos of a/photos, a share chosen" in done.stderr and "data.limit" not in done.stderr
    done = evaluate_here("checkpoint=net.pt", "split=all", "data.limit=null", cwd=tmp_path)
    assert done.returncode == 0 and "share" not in done.stderr, done.stderr
    assert "split=all: the network was trained on photos of it (data.train_split=train)" in done.stderr
    found = measured(tmp_path / "net_evaluation")
    assert found.pop("val") < found.pop("all_limitNone") == ALL
    ((name, samples),) = found.items()
    assert name.startswith("val_root-photos-") and len(samples) == 2


def test_lists_and_folders_divide_other_data_too(tmp_path: Path, network: Path) -> None:
    (tmp_path / "a/photos/val.txt").write_text("photo 3\nphoto 4\nphoto 5\n")
    for kind in ("images", "masks"):
        (tmp_path / "b/photos" / kind / "val").mkdir()
        (tmp_path / "b/photos" / kind / "train").mkdir()
        for i, path in enumerate(sorted((tmp_path / "b/photos" / kind).glob("photo*"))):
            path.rename(path.parent / ("val" if i < 4 else "train") / path.name)
    for root in ("a/photos", "b/photos"):
        done = evaluate_here("checkpoint=net.pt", f"data.root={root}", cwd=tmp_path)
        assert done.returncode == 0 and "share" not in done.stderr, done.stderr
    done = succeeded(evaluate_here("checkpoint=net.pt", "data.root=b/photos", "split=all", cwd=tmp_path))
    sizes = {name.partition("_")[0] + str(len(s)) for name, s in measured(tmp_path / "net_evaluation").items()}
    assert sizes == {"val3", "val4", "all10"}
    done = evaluate_here("checkpoint=net.pt", "split=test", cwd=tmp_path)
    assert_refused(done, "there is no split 'test' in own", "the split 'all' is every photo")


def test_one_photo_of_someone_elses_is_measured(tmp_path: Path, network: Path) -> None:
    """Though it could not be divided."""
    make_folder(tmp_path / "one", count=1)
    succeeded(evaluate_here("checkpoint=net.pt", "data.root=one", cwd=tmp_path))
    assert list(measured(tmp_path / "net_evaluation").values()) == [{"images/photo 0.jpg"}]


def test_data_that_the_environment_names(tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data=folder` in two places is two data sets; where that is the run's own, it is the run's."""
    for place in ("x", "y"):
        shutil.copytree(tmp_path / "own", tmp_path / place / "folder")
    words = ["data=folder", "data.num_workers=0", "data.limit=1"]
    for place in ("x", "y"):
        monkeypatch.setenv("SEGMENTATION_DATA", place)
        assert evaluate_here("checkpoint=net.pt", *words, cwd=tmp_path).returncode == 0
    assert evaluate_here("checkpoint=net.pt", *words, f"data.root={tmp_path}/own", cwd=tmp_path).returncode == 0
    first, second, own = sorted(measured(tmp_path / "net_evaluation"))
    assert own == "val" and all(name.startswith("all_root-folder-") for name in (first, second))


@pytest.mark.slow
def test_other_labels_are_another_measurement(tmp_path: Path, network: Path) -> None:
    labels = json.loads((tmp_path / "own/labels.json").read_text())
    labels["7"]["color"] = [0, 200, 0]
    (tmp_path / "more.json").write_text(json.dumps(labels))
    for words in ([], ["data.labels=more.json"], ["data.val_share=0.5"]):
        assert evaluate_here("checkpoint=net.pt", *words, cwd=tmp_path).returncode == 0
    names = sorted(measured(tmp_path / "net_evaluation"))
    assert [name.partition("more.json-")[0] for name in names] == ["val", "val_labels-", "val_val_share0.5"]


@pytest.mark.slow
def test_checkpoints_that_share_a_folder(tmp_path: Path, network: Path) -> None:
    (tmp_path / "b").mkdir(exist_ok=True)
    for copy in ("b/net.pt", "net.pth"):
        shutil.copy(network, tmp_path / copy)
    for checkpoint in ("net.pt", "net.pth", "b/net.pt"):
        succeeded(evaluate_here(f"checkpoint={checkpoint}", "output=results", cwd=tmp_path))
    found = {json.loads(path.read_text())["checkpoint"] for path in (tmp_path / "results").glob("*.json")}
    assert found == {"net.pt", "net.pth", "b/net.pt"}


def test_folders_and_parts_of_checkpoints(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    places = [run, run / "checkpoints/best.pt", run / "checkpoints/last.pt", tmp_path / "a.pt", tmp_path / "a.pth"]
    folders = [output_folder(None, str(place)) for place in places]
    assert folders[:3] == [run / "evaluation"] * 3
    assert folders[3:] == [tmp_path / "a_evaluation", tmp_path / "a.pth_evaluation"]
    parts = [checkpoint_part(str(place), in_own_folder=True) for place in places]
    assert parts == [None, None, "last", None, None]
    shared = [checkpoint_part(str(place), in_own_folder=False) for place in places]
    assert shared[0] == shared[1] and len(set(shared)) == 4


def name_of(split: str = "val", **facts: Any) -> str:
    usual: dict[str, Any] = {"checkpoint": None, "data": None, "different": [], "tta": []}
    return file_stem(split, **{**usual, "window": None, "overlap": 0.25, **facts})


def test_names() -> None:
    assert name_of() == name_of(overlap=0.5) == "val"
    assert name_of(tta=["flip"], window=(32, 48)) == "val_flip_window32x48"
    assert name_of(window=(32, 48), overlap=0.5) == "val_window32x48_overlap0.5"
    usual = {"root": "a", "image_size": [32, 48], "limit": 3, "batch_size": 2, "classes": 19, "coarse": False}
    assert different_parts({**usual, "batch_size": 1, "root": "./a/"}, usual) == []
    changed = {"image_size": [48, 32], "limit": None, "classes": 20, "coarse": True}
    assert different_parts(usual | changed, usual) == ["48x32", "limitNone", "classes20", "coarseTrue"]
    folds = {**usual, "folds": 5, "train_split": "train"}  # which divide that split
    assert different_parts({**folds, "train_split": "trainval"}, folds) == ["train_splittrainval"]
    assert different_parts({**usual, "train_split": "trainval"}, usual) == []
    ((first,), (second,)) = (different_parts({**usual, "root": root}, usual) for root in ("x/data", "y/data"))
    assert first.startswith("root-data-") and second.startswith("root-data-") and first != second


def test_folders_of_ensembles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never `evaluation/` of the working directory, which is a folder of the source."""
    monkeypatch.chdir(tmp_path)
    for run in ("one", "experiments/a", "experiments/b"):
        (tmp_path / run).mkdir(parents=True)
    assert ensemble_folder(None, ["deeplabv3plus_camvid", "enet_camvid"]) == Path("ensemble_evaluation")
    assert ensemble_folder(None, ["one", "enet_camvid"]) == Path("ensemble_evaluation")
    assert ensemble_folder(None, ["experiments/a", "experiments/b"]) == Path("experiments/ensemble_evaluation")
    assert ensemble_folder(None, ["experiments/a", "enet_camvid"]) == Path("experiments/ensemble_evaluation")
    elsewhere = ["/elsewhere/a.onnx", "/elsewhere/models/b.pt", "enet_camvid"]
    assert ensemble_folder(None, elsewhere) == Path("/elsewhere/ensemble_evaluation")
    assert ensemble_folder(None, ["/elsewhere/a.onnx", "one"]) == Path("ensemble_evaluation")  # not in the root
    assert ensemble_folder("mine", ["one", "enet_camvid"]) == Path("mine")


def test_names_fit_into_a_folder() -> None:
    """Whatever a split or a folder is called."""
    splits = ["by night/rain", "by night-rain", "by night\\rain", "a" * 300, "a" * 301, "雨" * 100, "x\ny"]
    names = [name_of(split) for split in splits]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= LONGEST and "/" not in name and name.isprintable() for name in names)
    (long,) = different_parts({"root": "/data/" + "雨" * 80}, {})
    assert len(long.encode()) < 60


def test_keys_of_the_loader_that_measure_nothing() -> None:
    """All keys of the loader but those that change what is measured."""
    measured = {"image_size", "limit", "fit", "folds", "fold", "group_by", "fold_seed"}
    assert set(UNMEASURED) == {"_target_", "download", "preview_bands", *LOADER_KEYS} - measured
