"""A run in one zip file."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from infer import infer
from inference.predictor import Predictor
from tests.in_process import assert_refused, run_here, succeeded
from tools.share import share


def test_it_is_used_from_an_empty_folder(tmp_path: Path, finished_run: Path) -> None:
    name = "it's mine (1)"
    copy, elsewhere = tmp_path / "runs" / name, tmp_path / "elsewhere"
    shutil.copytree(finished_run, copy)
    (copy / "code.diff").write_text("--- a\n")
    succeeded(run_here(share, "share", f"run={copy}", cwd=tmp_path))
    shutil.rmtree(copy)
    elsewhere.mkdir()
    with zipfile.ZipFile(tmp_path / f"{name}.zip") as packed:
        assert packed.testzip() is None
        packed.extractall(elsewhere)
    assert [path.name for path in elsewhere.iterdir()] == [name]
    for part in ("checkpoints/best.pt", "config.yaml", "metrics.csv", "summary.json", "code.diff"):
        assert (elsewhere / name / part).is_file(), part
    assert len(list((elsewhere / name / "figures").glob("*.png"))) == 3
    assert "</html>" in (elsewhere / name / "report.html").read_text()
    assert not (elsewhere / name / "checkpoints" / "last.pt").exists()
    with (elsewhere / name / "metrics.csv").open(newline="") as file:
        best = max(float(row["val/miou"]) for row in csv.DictReader(file))
    note = (elsewhere / name / "README.md").read_text()
    assert f"validation mIoU {best:.4f}" in note and "with the changes in `code.diff`" in note

    commands = [shlex.split(line) for line in note.splitlines() if line.startswith("python ")]
    assert [words[1] for words in commands] == ["infer.py", "evaluate.py", "train_segmentation.py"]
    assert [len(words) for words in commands[1:]] == [3, 3]  # the generated scenes need no folder
    commit = json.loads((finished_run / "summary.json").read_text())["environment"]["git_commit"]
    assert (
        '"Efficient segmentation"' in note and f", {f'commit {commit}' if commit else 'of an unknown commit'}, " in note
    )
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(photo).save(elsewhere / "photo.png")
    words = [word for word in commands[0] if word.startswith("checkpoint=")]
    succeeded(run_here(infer, "infer", *words, "input=photo.png", cwd=elsewhere))
    expected = Predictor.from_checkpoint(finished_run).predict(photo)
    assert np.array_equal(np.asarray(Image.open(elsewhere / "photo_mask.png")), expected)
    seen: list[int] = []
    succeeded(run_here(lambda cfg: seen.append(cfg.trainer.epochs), "train", commands[2][2], cwd=elsewhere))
    assert seen == [yaml.safe_load((finished_run / "config.yaml").read_text())["trainer"]["epochs"]]


def test_the_commands_ask_for_files_that_are_not_packed(tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    config["data"] |= {"root": "datasets/folder", "labels": "merged.json"}
    config["model"] |= {"weights": "enet_camvid", "encoder_weights": "imagenet"}
    config["distill"] = {"teacher": "experiments/teacher"}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    succeeded(run_here(share, "share", "run=run", cwd=tmp_path))
    with zipfile.ZipFile(tmp_path / "run.zip") as packed:
        note = packed.read("run/README.md").decode()
    data = "data.root=<folder of the data set> data.labels=<file of the labels>"
    assert f"\npython evaluate.py checkpoint=run {data}\n" in note
    assert f"\npython train_segmentation.py like=run {data} distill.teacher=<run or file>\n" in note


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([], ["run is missing"]),
        (["run=nothing"], ["run=nothing: there is no such run"]),
        (["run=RUN", "output=run.tar"], ["must be a .zip file"]),
        (["run=RUN", "output=taken.zip"], ["taken.zip exists already", "overwrite=true"]),
        (["run=early"], ["no checkpoints/best.pt"]),
        (["run=killed"], ["run=killed: it was ended before it started, or is still starting"]),
        (["run=bare"], ["run=bare: ", "summary.json"]),
    ],
)
def test_mistakes(tmp_path: Path, finished_run: Path, words: list[str], fragments: list[str]) -> None:
    (tmp_path / "taken.zip").write_text("mine")
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "killed" / ".hydra").mkdir(parents=True)
    (tmp_path / "bare" / "checkpoints").mkdir(parents=True)
    (tmp_path / "bare" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "bare" / "checkpoints" / "best.pt").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    words = [word.replace("RUN", str(finished_run)) for word in words]
    assert_refused(run_here(share, "share", *words, cwd=tmp_path), *fragments)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "taken.zip").read_text() == "mine"
