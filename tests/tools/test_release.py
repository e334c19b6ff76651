"""`python -m tools.release`."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from data.synthetic import Synthetic
from engine.checkpoint import load_checkpoint
from inference.predictor import Predictor
from tests.in_process import assert_refused, run_here, succeeded
from tools.release import release


@pytest.fixture(scope="module")
def file(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "it's (1).pt"
    done = succeeded(run_here(release, "release", f"checkpoint={finished_run}", f"output={path}", cwd=path.parent))
    assert f"wrote {path}" in done.stderr
    (command,) = [line.partition("use it: ")[2] for line in done.stderr.splitlines() if "use it: " in line]
    assert f"checkpoint={path}" in shlex.split(command)
    return path


def test_the_file_predicts_what_the_run_predicts(finished_run: Path, file: Path) -> None:
    image = Synthetic((64, 96), "val", val_length=1)[0].image
    masks = [Predictor.from_checkpoint(path, torch.device("cpu")).predict(image) for path in (finished_run, file)]
    assert np.mean(masks[0] == masks[1]) > 0.99
    assert file.stat().st_size < 0.6 * (finished_run / "checkpoints" / "best.pt").stat().st_size


def test_the_last_epoch_can_be_released(finished_run: Path, tmp_path: Path) -> None:
    last = finished_run / "checkpoints" / "last.pt"
    succeeded(run_here(release, "release", f"checkpoint={last}", "output=last.pt", cwd=tmp_path))
    assert load_checkpoint(tmp_path / "last.pt")["epoch"] == load_checkpoint(last)["epoch"]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [(["output=network.onnx"], "must be a .pt file"), (["output=there.pt"], "there.pt exists already; overwrite=true")],
)
def test_outputs_that_cannot_be_written(finished_run: Path, tmp_path: Path, words: list[str], fragment: str) -> None:
    (tmp_path / "there.pt").write_bytes(b"kept")
    assert_refused(run_here(release, "release", f"checkpoint={finished_run}", *words, cwd=tmp_path), fragment)
    assert (tmp_path / "there.pt").read_bytes() == b"kept"
