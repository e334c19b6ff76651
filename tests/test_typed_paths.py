"""Odd paths in every key that takes one, in every command: one line, exit code 2."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import runs_in
from tests.in_process import run_here

LABELS = '{"0": {"class": "a", "color": [0, 0, 0]}}'
COMMANDS: list[tuple[str, str, str]] = [
    # Function, config, words; {} is the path.
    ("train_segmentation.train", "train", "data=folder data.root={} data.num_workers=0 logger=none"),
    ("train_segmentation.train", "train", "data=voc data.root={} logger=none"),
    ("train_segmentation.train", "train", "data=coco data.root={} logger=none"),
    ("train_segmentation.train", "train", "data=camvid data.root={} logger=none"),
    ("train_segmentation.train", "train", "data=cityscapes data.root={} logger=none"),
    ("train_segmentation.train", "train", "data=cityscapes_pairs data.root={} logger=none"),
    ("train_segmentation.train", "train", "data=folder data.root=set data.labels={} logger=none"),
    ("train_segmentation.train", "train", "model.weights={} data.image_size=[32,32] data.limit=4 logger=none"),
    ("train_segmentation.train", "train", "resume={}"),
    ("train_segmentation.train", "train", "sweep={}"),
    ("evaluate.evaluate", "evaluate", "checkpoint={}"),
    ("infer.infer", "infer", "checkpoint=run input={}"),
    ("infer.infer", "infer", "checkpoint={} input=photo.png output=mask.png"),
    ("infer.infer", "infer", "checkpoint=run input=photo.png output={}"),
    ("infer.infer", "infer", "model=enet weights={} labels=labels.json input=photo.png"),
    ("infer.infer", "infer", "model=enet weights=w.pt labels={} input=photo.png"),
    ("compare.compare", "compare", "runs={}"),
    ("compare.compare", "compare", "runs=run report={}"),
    ("compare.compare", "compare", "runs={} watch=true"),
    ("tools.benchmark.benchmark", "benchmark", "model=enet runs={}"),
    ("tools.benchmark.benchmark", "benchmark", "model=enet backends=[eager] runs=run plot={}"),
    ("tools.classify.classify", "classify", "model=efficientnet_b0 input={} labels=labels.json weights=w.pt"),
    ("tools.classify.classify", "classify", "model=efficientnet_b0 input=photo.png labels={} weights=w.pt"),
    ("tools.check_data.check", "check_data", "data=folder data.root={}"),
    ("tools.check_data.check", "check_data", "data=folder data.root=set output={}"),
    ("tools.preview_augmentation.preview", "preview_augmentation", "output={}"),
    ("tools.find_lr.find", "find_lr", "output={}"),
    ("tools.export.export", "export", "checkpoint={}"),
    ("tools.export.export", "export", "checkpoint=run output={}"),
    ("train_segmentation.train", "train", "distill=logits distill.teacher={} data.image_size=[32,32] logger=none"),
]
PATHS = {
    "no such user": ("~nouser/x", "there is no home folder ~nouser"),
    "long": ("x" * 300, "File name too long"),
    "long folder": ("x" * 300 + "/a.png", "File name too long"),
    "NUL": ("a\0b", "not a path"),
    "pipe": ("pipe", "it is a named pipe"),
    "loop": ("loop/a", "Too many levels of symbolic links"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("set/images", "set/masks", "run"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("labels.json", "set/labels.json"):
        (tmp_path / name).write_text(LABELS)
    (tmp_path / "photo.png").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def function(path: str) -> Callable:
    module, _, name = path.rpartition(".")
    found: Callable = getattr(importlib.import_module(module), name)
    return found


@pytest.mark.parametrize(("task", "config", "words"), COMMANDS)
def test_odd_paths(place: Path, task: str, config: str, words: str) -> None:
    kind = list(PATHS)[COMMANDS.index((task, config, words)) % len(PATHS)]  # all with all would take minutes
    path, expected = PATHS[kind]
    before = set(place.iterdir())
    done = run_here(function(task), config, *(word.format(path) for word in words.split(" ")), cwd=place)
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) <= 2 and lines[0].startswith("error: "), done.stderr
    assert expected in done.stderr and len(done.stderr) < 700, done.stderr
    key = next(word.partition("=")[0] for word in words.split(" ") if "{}" in word).rpartition(".")[2]
    assert f"{key}=" in done.stderr, done.stderr
    assert set(place.iterdir()) - {place / "experiments"} == before and not runs_in(place)
