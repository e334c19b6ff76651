"""Runs that are killed at any moment and resumed end like an undisturbed one."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from engine.checkpoint import load_checkpoint
from tests.conftest import runs_in, start_command
from tests.in_process import run_here, succeeded
from train_segmentation import train
from utils.run_folder import RunFolder

WORDS = (
    *("trainer.device=cpu", "trainer.epochs=2", "trainer.accumulation_steps=3", "trainer.ema=true"),
    *("data.image_size=[32,32]", "data.limit=38", "data.batch_size=2", "data.num_workers=2"),
)
LAST_STEP = 2 * 7  # of 19 batches, three at a time
OFTEN = "trainer.checkpoint_minutes=0.002"
HELD = "logger._target_=tests.holding.HoldingTensorBoard"  # at its end, where a kill comes late on a busy machine
CLOCKS = ("seconds", "images_per_second")


def end_of(run: Path) -> tuple[dict, list[dict[str, float]]]:
    """Return everything that must be equal: the last checkpoint, and the rows without times."""
    rows = [{k: v for k, v in row.items() if k not in CLOCKS} for row in RunFolder(run).read_rows()]
    return load_checkpoint(run / "checkpoints" / "last.pt"), rows


def assert_equal(one: object, other: object, where: str = "") -> None:
    """Assert bitwise equality of nested dictionaries, lists and tensors."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in (*CLOCKS, "config", "code"):  # code: somebody may commit meanwhile
                assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where  # NaN is NaN


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = run_here(train, "train", *WORDS, cwd=folder)  # with another hash seed than the commands
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(folder)
    return run


def kill_after(seconds: float, *words: str, cwd: Path) -> None:
    """Start the command and kill it `seconds` after it began to train and has a checkpoint."""
    process = start_command("train_segmentation.py", *words, HELD, cwd=cwd)
    # A resumed run writes its summary when it is about to train.
    before = now = {path: path.stat().st_mtime_ns for path in cwd.rglob("summary.json")}
    while now == before or not any(cwd.rglob("last.pt")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
        now = {path: path.stat().st_mtime_ns for path in cwd.rglob("summary.json")}
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("seed", "times"), [(0, 1), *(pytest.param(seed, 3, marks=pytest.mark.slow) for seed in range(7))]
)
def test_a_run_that_is_killed_again_and_again(tmp_path: Path, left_alone: Path, seed: int, times: int) -> None:
    """Kills in steps, in validation, or while a checkpoint is written, as it happens."""
    chance = random.Random(seed)
    kill_after(chance.uniform(0, 0.6), *WORDS, OFTEN, f"+logger.step={LAST_STEP}", cwd=tmp_path)
    (run,) = runs_in(tmp_path)
    for _ in range(times - 1):
        kill_after(chance.uniform(0, 0.6), f"resume={run}", cwd=tmp_path)
    (tmp_path / "go").touch()
    succeeded(run_here(train, "train", f"resume={run}", HELD, cwd=tmp_path))
    for one, other in zip(end_of(left_alone), end_of(run), strict=True):
        assert_equal(one, other)
