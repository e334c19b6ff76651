"""Run folders with damaged or odd files: resume= says what is wrong and where, and leaves the folder as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def resume(run: Path, *words: str) -> Any:
    return run_here(train, "train", f"resume={run}", *words, cwd=run.parent)


@pytest.fixture
def run(tmp_path: Path, finished_run: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run")


def summary(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def damage(run: Path) -> None:
        content = json.loads((run / "summary.json").read_text())
        change(content)
        (run / "summary.json").write_text(json.dumps(content))

    return damage


def text(file: str, *changes: tuple[str, str]) -> Callable[[Path], object]:
    def damage(run: Path) -> None:
        content = (run / file).read_text()
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        (run / file).write_text(content)

    return damage


def whole(file: str, content: str) -> Callable[[Path], object]:
    return lambda run: (run / file).write_text(content)


def appended(file: str, content: str) -> Callable[[Path], object]:
    return lambda run: (run / file).write_text((run / file).read_text() + content)


def last(*keys: Any, value: Any = None, drop: bool = False) -> Callable[[Path], object]:
    """Set or drop a value of last.pt."""

    def damage(run: Path) -> None:
        file = run / "checkpoints" / "last.pt"
        checkpoint = node = torch.load(file)
        for key in keys[:-1]:
            node = node[key]
        if drop:
            del node[keys[-1]]
        else:
            node[keys[-1]] = value
        torch.save(checkpoint, file)

    return damage


NAN = torch.full((16, 3, 3, 3), float("nan"))
TABLE = [
    (whole("summary.json", ""), ["summary.json: empty: not valid JSON", "delete it"]),
    (whole("summary.json", "[1]"), ["summary.json: must be a table of keys and values, not list"]),
    (whole("summary.json", "[" * 100_000), ["summary.json: not valid JSON", "nested too deeply"]),
    (whole("summary.json", '{"status": "finished",}'), ["summary.json: line 1: not valid JSON"]),
    (summary(lambda s: s.update(status=3)), ["summary.json: status: must be a string, not 3"]),
    (summary(lambda s: s.update(best=[1])), ["summary.json: best: must be a table of keys and values, not list"]),
    (summary(lambda s: s["best"].update(epoch="one")), ["summary.json: best.epoch: ", "not 'one'"]),
    (summary(lambda s: s.update(resumed="often")), ["summary.json: resumed: "]),
    (summary(lambda s: s.update(options=None)), ["summary.json: options: "]),
    (summary(lambda s: s.update(seconds="12")), ["summary.json: seconds: must be a number, not '12'"]),
    (appended("metrics.csv", "a note\n"), ["metrics.csv, line 4: 1 cell where line 1 has", "delete it"]),
    (text("metrics.csv", (",", ";")), ["metrics.csv, line 1: the column epoch is missing; cells are separated by"]),
    (text("metrics.csv", ("val/miou", "val/mean")), ["metrics.csv, line 1: the column val/miou is missing"]),
    (text("metrics.csv", ("\n1,", "\nfirst,")), ["metrics.csv, line 2: epoch is 'first', not a number"]),
    (text("metrics.csv", ("\n2,", "\n1,")), ["metrics.csv, line 3: epoch 1 follows epoch 1"]),
    (text("metrics.csv", ("\n2,", "\n2\0,")), ["metrics.csv, line 3: "]),
    (whole("metrics.csv", ""), ["metrics.csv, line 1: the column epoch is missing"]),
    (whole(".hydra/hydra.yaml", ""), ["hydra.yaml: not Hydra's record of a run", "delete the file"]),
    (whole(".hydra/hydra.yaml", "hydra: [1, 2"), ["hydra.yaml", "not valid YAML"]),
    (whole(".hydra/hydra.yaml", "hydra: {runtime: {choices: [1]}}"), ["hydra.yaml: not Hydra's record"]),
    (whole(".hydra/hydra.yaml", "a: " + "[" * 5000), ["hydra.yaml"]),
    (last("training", drop=True), ["last.pt: holds no training state", "start a new run"]),
    (last("training", value=[]), ["last.pt: training: must be a table"]),
    (last("training", "optimizer", drop=True), ["last.pt: training: optimizer: the key is missing"]),
    (last("training", "optimizer", "state", value=[1]), ["training: optimizer.state: "]),
    (
        last("training", "optimizer", "state", 0, value={"step": torch.tensor(1.0)}),
        ["optimizer.state.0: exp_avg is mis"],
    ),
    (last("training", "optimizer", "state", 0, "exp_avg", value=torch.zeros(2)), ["state.0: exp_avg is of shape (2,)"]),
    (
        last("training", "optimizer", "state", 0, "exp_avg", value=NAN[:13]),
        ["state.0: exp_avg has 351 NaN or infinite"],
    ),
    (last("training", "optimizer", "param_groups", value=[]), ["training.optimizer: groups of []"]),
    (
        last("training", "scheduler", value={"last_epoch": 1.5}),
        ["training: scheduler.last_epoch: must be an int"],
    ),
    (last("training", "scheduler", drop=True), ["training: scheduler: the key is missing"]),
    (last("training", "progress", value={"epoch": 2}), ["training: progress.batch: the key is missing"]),
    (last("training", "progress", "step", value=-1), ["training: progress.step: must be at least 0"]),
    (last("training", "progress", "epoch", value=1), ["progress.epoch: is 1, and epoch 2"]),
    (last("training", "processes", value=[]), ["training: processes: must have at least 1 value"]),
    (last("training", "processes", 0, "totals", value=torch.zeros(9)), ["processes.0.totals: not 2 numbers"]),
    (last("training", "processes", 0, "random", value=None), ["training: processes.0.random: "]),
    (last("training", "processes", 0, "random", "torch", value=torch.zeros(3)), ["training: processes.0.random: "]),
    (last("training", "processes", 0, "random", "python", value=(3, (1, 2), None)), ["processes.0.random: "]),
    (last("training", "scaler", value={"scale": -1.0}), ["training: scaler: "]),
    (last("epoch", value=None), ["last.pt: holds no training state"]),
    (last("model", "initial.conv.weight", value=NAN), ["last.pt: initial.conv.weight has 432 NaN or infinite"]),
    (last("config", value=7), ["last.pt: config: "]),
    (lambda run: (run / "checkpoints" / "best.pt").unlink(), ["best.pt"]),
    (lambda run: (run / "checkpoints" / "best.pt").write_bytes(b"x"), ["best.pt: not a checkpoint"]),
]


@pytest.mark.parametrize(("damage", "fragments"), TABLE, ids=[fragments[0] for _, fragments in TABLE])
def test_damage_is_named_and_left_alone(run: Path, damage: Callable[[Path], object], fragments: list[str]) -> None:
    damage(run)
    before = digests(run)
    done = resume(run, "trainer.epochs=3")
    assert_refused(done, *fragments)
    assert digests(run) == before


def test_a_run_goes_on_without_the_files_that_may_be_deleted(run: Path) -> None:
    for file in ("summary.json", "metrics.csv", ".hydra/hydra.yaml"):
        (run / file).unlink()
    succeeded(resume(run, "trainer.epochs=3"))
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
