"""Failures caused from outside: what is reported, and what is left."""

import itertools
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch
import yaml

from cli import command_line
from engine.checkpoint import load_checkpoint
from evaluate import evaluate
from infer import infer
from tests.conftest import ROOT, TINY, runs_in, start_command, trained_an_epoch
from tests.in_process import run_here, succeeded
from train_segmentation import train
from utils.errors import UserError
from utils.run_folder import RunFolder

SCRIPT = "train_segmentation.py"
ENDLESS = ("trainer.epochs=100000", *TINY)


def ended(process: subprocess.Popen, run: Path, code: int, status: str) -> str:
    """Wait for the end, check what is left and that stderr says how to resume; return stderr."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert RunFolder(run).read_summary()["status"] == status
    assert load_checkpoint(run / "checkpoints" / "last.pt")["training"]
    assert f"train_segmentation.py resume=experiments/{run.name}" in errors
    return errors


def goes_on(run: Path, folder: Path) -> None:
    """Resume for one more epoch."""
    epochs = load_checkpoint(run / "checkpoints" / "last.pt")["epoch"] + 1
    succeeded(run_here(train, "train", f"resume={run}", f"trainer.epochs={epochs}", cwd=folder))
    assert [row["epoch"] for row in RunFolder(run).read_rows()] == list(range(1, epochs + 1))


def test_a_full_disk(tmp_path: Path) -> None:
    """No file of the process may become larger than a small one, as if the disk were full."""
    process = start_command(SCRIPT, *ENDLESS, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    errors = ended(process, run, 2, "failed")
    assert re.search(r"checkpoints/(best|last)\.pt: cannot be written \(File too large\)", errors), errors
    assert "Traceback" not in errors
    assert not list((run / "checkpoints").glob(".*"))
    goes_on(run, tmp_path)


def test_a_run_folder_that_is_moved_away(tmp_path: Path) -> None:
    process = start_command(SCRIPT, *ENDLESS, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    run.rename(tmp_path / "elsewhere")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert f"error: experiments/{run.name}" in errors and "is gone: it was moved or deleted" in errors
    assert "Traceback" not in errors and runs_in(tmp_path) == []
    goes_on(tmp_path / "elsewhere", tmp_path)


@pytest.mark.slow
def test_a_worker_that_the_system_kills(tmp_path: Path) -> None:
    process = start_command(SCRIPT, *ENDLESS, "data.num_workers=1", cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    psutil.Process(process.pid).children()[0].kill()
    errors = ended(process, run, 2, "failed")
    assert "error: a loader worker " in errors and "data.num_workers" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_file_that_is_damaged_during_the_training(tmp_path: Path, camvid: Path) -> None:
    typed = ("data=camvid", f"data.root={camvid}", "trainer.epochs=100000", *TINY)
    process = start_command(SCRIPT, *typed, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    image = camvid / "train" / "002.jpg"
    image.write_bytes(image.read_bytes()[:100])
    errors = ended(process, run, 2, "failed")
    assert f"{image}" in errors and "python -m tools.check_data" in errors and "Traceback" not in errors


@pytest.mark.slow
def test_memory_that_is_used_up(tmp_path: Path) -> None:
    """The process may not have more than 6 GB of addresses: the activations of a batch take more."""
    words = ("data.image_size=[512,512]", "data.limit=32", "data.batch_size=32", "data.num_workers=0")
    plain = ("trainer.device=cpu", "augmentation=none", "loss.class_weights=null", "logger=none")
    process = start_command(SCRIPT, *words, *plain, cwd=tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "out of memory on cpu with batches of 32 images of 512x512" in errors
    assert "data.batch_size=16 trainer.accumulation_steps=2 (the same gradient" in errors and "Traceback" not in errors
    assert "resume=" not in errors  # it would not help
    assert RunFolder(runs_in(tmp_path)[0]).read_summary()["status"] == "failed"


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    words = ["optimizer.lr=1e30", "scheduler=constant", *TINY, "trainer.log_every=1"]
    done = run_here(train, "train", *words, cwd=tmp_path)
    assert done.returncode == 2 and "the loss is not finite" in done.stderr, done.stderr
    assert "in the batch of: train/" in done.stderr and "Start a new run with a smaller optimizer.lr" in done.stderr
    assert "resume=" not in done.stderr
    (run,) = runs_in(tmp_path)
    assert RunFolder(run).read_summary()["status"] == "failed"
    weights = load_checkpoint(run / "checkpoints" / "last.pt")["model"]
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_and_leaves_a_whole_checkpoint(tmp_path: Path, number: int) -> None:
    slow = ("data.image_size=[160,160]", "data.batch_size=8")  # a step takes longer than the wait between the signals
    process = start_command(SCRIPT, *ENDLESS, *slow, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    process.send_signal(number)
    time.sleep(0.1)  # or the second would be the first
    process.send_signal(number)
    ended(process, run, 128 + number, "interrupted")
    goes_on(run, tmp_path)


@pytest.mark.slow
def test_a_clock_that_jumps(tmp_path: Path, finished_run: Path) -> None:
    """The wall clock goes back by a day at every look."""
    looks, now = itertools.count(1), time.time
    words = [word for word in TINY if word != "logger=none"]
    with mock.patch.object(time, "time", lambda: now() - 86400 * next(looks)):
        done = run_here(train, "train", "trainer.epochs=2", "trainer.checkpoint_minutes=0.001", *words, cwd=tmp_path)
    assert next(looks) > 10
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(tmp_path)
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 for row in RunFolder(run).read_rows())
    assert 0 < RunFolder(run).read_summary()["seconds"] < 300
    one, other = (load_checkpoint(path / "checkpoints" / "last.pt")["model"] for path in (run, finished_run))
    assert all(torch.equal(one[name], other[name]) for name in one)


class Malicious:
    """Make a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def commands_for(run: Path) -> list[tuple[Callable, str, list[str]]]:
    """Return task, config and arguments of every command that reads a checkpoint."""
    photo = str(ROOT / "docs" / "predictions.png")
    return [
        (infer, "infer", [f"checkpoint={run}", f"input={photo}", "output=mask.png"]),
        (evaluate, "evaluate", [f"checkpoint={run}"]),
        (train, "train", [f"resume={run}", "trainer.epochs=3"]),
    ]


@pytest.mark.parametrize("how", ["pickle", "target"])
def test_a_checkpoint_that_would_run_code(tmp_path: Path, finished_run: Path, how: str) -> None:
    run, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(finished_run, run)
    for name in ("best.pt", "last.pt"):
        checkpoint = torch.load(run / "checkpoints" / name, weights_only=True)
        if how == "pickle":
            checkpoint["labels"] = Malicious(mark)
        else:
            checkpoint["config"]["model"] = {"_target_": "os.mkdir", "path": str(mark)}
        torch.save(checkpoint, run / "checkpoints" / name, pickle_module=pickle)
    for task, config, words in commands_for(run):
        done = run_here(task, config, *words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "more than tensors and plain values" in done.stderr or "not a model of this project" in done.stderr
        assert not mark.exists()


@pytest.mark.parametrize(
    "evil",
    [
        {"trainer": {"_target_": "os.mkdir"}},
        {"logger": {"_target_": "models.enet.torch.os.mkdir"}},
        {"logger": {"_target_": "albumentations.save"}},
        {"augmentation": {"_target_": "data.augmentation.Augmentation", "transforms": [{"_target_": "os.mkdir"}]}},
        {"hydra": {"callbacks": {"evil": {"_target_": "os.mkdir"}}}},
        {"defaults": [{"override hydra/launcher": "evil"}]},
    ],
)
def test_a_run_folder_that_would_run_code(tmp_path: Path, finished_run: Path, evil: dict) -> None:
    """resume builds what config.yaml names, so that it may not name just anything."""
    (tmp_path / "run").mkdir()
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config | evil))
    with pytest.raises(UserError, match=r"would run \S*(mkdir|save), which conf/ does not name|is not a key"):
        command_line.hydra_words([f"resume={tmp_path / 'run'}"], "train")


def test_what_the_user_names_is_trusted(tmp_path: Path, finished_run: Path) -> None:
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    config["model"]["_target_"] = "mine.Net"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert command_line.hydra_words([f"resume={tmp_path}", "model._target_=mine.Net"], "train")
