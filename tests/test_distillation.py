"""Distillation through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import TINY, runs_in
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train
from utils.run_folder import RunFolder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data set of two classes that are not the teacher's."""
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (40, 40), (i, 90, 200)).save(tmp_path / "data" / "images" / f"{i}.png")
        mask = Image.new("L", (40, 40), 0)
        mask.paste(1, (0, 0, 20, 40))
        mask.save(tmp_path / "data" / "masks" / f"{i}.png")
    labels = {str(i): {"class": name, "color": [i, i, i]} for i, name in enumerate(("left", "right"))}
    (tmp_path / "data" / "labels.json").write_text(json.dumps(labels))
    return tmp_path / "data"


@pytest.mark.parametrize("option", ["logits", pytest.param("channel", marks=pytest.mark.slow)])
def test_a_run_as_teacher(tmp_path: Path, finished_run: Path, option: str) -> None:
    words = (f"distill={option}", f"distill.teacher={finished_run}", "trainer.epochs=1", *TINY)
    succeeded(run_here(train, "train", *words, cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    (row,) = RunFolder(run).read_rows()
    assert row["train/distillation"] > 0 and "val/distillation" not in row
    assert RunFolder(run).read_summary()["options"]["distill"] == option
    succeeded(run_here(train, "train", f"resume={run}", "trainer.epochs=2", cwd=tmp_path))
    assert len(RunFolder(run).read_rows()) == 2


def test_sweep_with_and_without_a_teacher(tmp_path: Path, finished_run: Path) -> None:
    words = ("distill=none,logits", f"distill.teacher={finished_run}", "trainer.epochs=1", *TINY)
    succeeded(run_here(train, "train", "--multirun", *words, cwd=tmp_path))
    alone, taught = (RunFolder(run) for run in sorted(tmp_path.glob("experiments/*_sweep/[0-9]")))
    assert [run.read_summary()["options"]["distill"] for run in (alone, taught)] == ["none", "logits"]
    assert "train/distillation" not in alone.read_rows()[0]
    assert taught.read_rows()[0]["train/distillation"] > 0


def test_mistakes(tmp_path: Path, finished_run: Path, photos: Path) -> None:
    def refused(*words: str) -> None:
        assert_refused(run_here(train, "train", *words[0].split(), *TINY, cwd=tmp_path), *words[1:])
        assert not list(tmp_path.glob("experiments/*"))

    refused("distill.teacher=enet_camvid", "distill.teacher", "distill=logits or distill=channel")
    refused("distill=logits", "distill.teacher", "missing")
    refused("distill=logits distill.teacher=nowhere", "distill.teacher=nowhere: there is no such run or file")
    refused(f"distill=channel distill.teacher={finished_run} distill.temperature=0", "temperature=0", "0.1 to 100")
    refused(f"distill=channel distill.teacher={finished_run} distill.weight=-1", "distill.weight=-1")
    of_others = f"data=folder data.root={photos} distill=logits distill.teacher={finished_run}"
    refused(of_others, "the teacher has 9 classes and the data set has 2; they differ in sky, building")
