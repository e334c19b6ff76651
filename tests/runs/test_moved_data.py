"""A run is resumed where its data are elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluate import evaluate
from runs.evaluated_data import run_node
from tests.conftest import TINY, runs_in
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train

WORDS = ["data=camvid", *(word for word in TINY if word != "data.limit=8")]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, `camvid`, and the run of an epoch on it, `run`."""
    folder = tmp_path_factory.mktemp("first")
    rng = np.random.default_rng(0)
    for split, length in (("train", 4), ("val", 2)):
        for name in (split, f"{split}annot"):
            (folder / "camvid" / name).mkdir(parents=True)
        for i in range(length):
            mask = np.repeat(rng.permutation(12).astype(np.uint8), 4)[None].repeat(40, 0)
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / f"camvid/{split}/{i:03}.png")
            Image.fromarray(mask).save(folder / f"camvid/{split}annot/{i:03}.png")
    succeeded(run_here(train, "train", f"data.root={folder / 'camvid'}", "trainer.epochs=1", *WORDS, cwd=folder))
    runs_in(folder)[0].rename(folder / "run")
    return folder


@pytest.fixture
def there(first: Path, tmp_path: Path) -> Path:
    """The other machine: copies of both under other names. The first root does not exist."""
    shutil.copytree(first / "run", tmp_path / "run")
    shutil.copytree(first / "camvid", tmp_path / "data" / "CamVid")
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert str(first) in config
    (tmp_path / "run" / "config.yaml").write_text(config.replace(str(first), "/home/someone"))
    return tmp_path


def test_the_same_samples_elsewhere(there: Path) -> None:
    words = ["resume=run", "data.root=data/CamVid", "trainer.epochs=2"]
    succeeded(run_here(train, "train", *words, cwd=there))
    summary = json.loads((there / "run" / "summary.json").read_text())
    assert summary["last"]["epoch"] == 2 and summary["samples"]["train"]["samples"] == 4
    assert "root: data/CamVid" in (there / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("how", "fragment"),
    [
        ("fewer", "3 train samples, and 4 when the run began"),
        ("renamed", "the train split has other samples than when the run began"),
        ("edited", "names or sizes of the files of the validation samples differ"),
    ],
)
def test_other_samples_are_refused(there: Path, how: str, fragment: str) -> None:
    root = there / "data" / "CamVid"
    for folder in ("train", "trainannot"):
        if how == "fewer":
            (root / folder / "003.png").unlink()
        elif how == "renamed":
            (root / folder / "003.png").rename(root / folder / "004.png")
    if how == "edited":
        Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(root / "val" / "000.png")
    before = {path: path.read_bytes() for path in (there / "run").rglob("*") if path.is_file()}
    words = ["resume=run", "data.root=data/CamVid", "trainer.epochs=2"]
    assert_refused(run_here(train, "train", *words, cwd=there), "data.root=data/CamVid: ", fragment)
    assert {path: path.read_bytes() for path in (there / "run").rglob("*") if path.is_file()} == before


def test_a_run_without_a_record_of_its_samples(there: Path) -> None:
    summary = json.loads((there / "run" / "summary.json").read_text())
    del summary["samples"]
    (there / "run" / "summary.json").write_text(json.dumps(summary))
    done = run_here(train, "train", "resume=run", "data.root=data/CamVid", "trainer.epochs=2", cwd=there)
    assert done.returncode == 0 and "has no record of the samples" in done.stderr, done.stderr


def test_a_checkpoint_of_elsewhere_is_measured_on_the_usual_folder_of_its_data(first: Path, tmp_path: Path) -> None:
    shutil.copytree(first / "run", tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "best.pt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["data"]["root"] = "/home/someone/camvid"
    torch.save(checkpoint, path)
    words = ["checkpoint=run/checkpoints/best.pt", "output=out"]
    assert_refused(run_here(evaluate, "evaluate", *words, cwd=tmp_path), "no folder datasets/camvid/val", "data.root=")
    shutil.copytree(first / "camvid", tmp_path / "datasets" / "camvid")
    assert run_here(evaluate, "evaluate", *words, cwd=tmp_path).returncode == 0
    assert run_node(checkpoint)["root"] == "datasets/camvid"
    checkpoint["config"]["data"]["root"] = str(first / "camvid")
    assert run_node(checkpoint)["root"] == str(first / "camvid")
    checkpoint["config"]["data"]["root"] = "/home/someone/streets"
    assert run_node(checkpoint)["root"] == "/home/someone/streets"
