"""train_segmentation.py in several real processes, as torchrun starts them."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed import run as torchrun

from engine.checkpoint import load_checkpoint
from tests.conftest import ROOT, TINY, run_command, runs_in, start_command, trained_an_epoch
from tests.in_process import succeeded
from tests.test_kill import assert_equal, end_of
from utils.run_folder import RunFolder

FAILING = """
import os
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes: int, **_) -> None:
        super().__init__()
        self.conv, self.calls = nn.Conv2d(3, num_classes, 1), 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3 and os.environ["RANK"] == "1":
            raise RuntimeError("it broke")
        return self.conv(x)
"""


def start(*words: str, cwd: Path, **environment: Any) -> subprocess.Popen:
    launcher = ("--standalone", "--nproc_per_node=2", str(ROOT / "train_segmentation.py"))
    return start_command(torchrun.__file__, *launcher, *words, cwd=cwd, **environment)


def test_a_process_that_fails_ends_all(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    words = ("++model._target_=failing.Net", "trainer.epochs=100", *TINY)
    process = start(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "process 1 failed" in errors and "RuntimeError: it broke" in errors
    (run,) = runs_in(tmp_path)
    log = (run / "train.log").read_text()
    assert "RuntimeError: it broke" in log and log.count("Traceback") == 1
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed" and summary["error"] == "process 1: RuntimeError: it broke"
    assert (run / "checkpoints" / "last.pt").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.epoch=3",),
        pytest.param(("--multirun", "seed=0,1"), marks=pytest.mark.slow),
        pytest.param(("trainer.monitor=val/foo", *TINY), marks=pytest.mark.slow),
        pytest.param(("data=camvid", "data.root=nowhere"), marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_told_once(tmp_path: Path, words: tuple[str, ...]) -> None:
    process = start(*words, cwd=tmp_path)
    _, errors = process.communicate(timeout=300)
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert process.returncode != 0 and len(said) == 1, errors
    assert "cli/start.py" not in errors  # of this program there is no traceback
    assert runs_in(tmp_path) == []


@pytest.mark.slow
def test_a_mistake_in_one_process_only_is_reported_by_it(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "import os\nfrom models.enet import ENet\n\n\n"
        "def net(num_classes: int, **_):\n"
        "    if os.environ['RANK'] == '1':\n        raise ValueError('no weights on this machine')\n"
        "    return ENet(num_classes)\n"
    )
    process = start("++model._target_=failing.net", *TINY, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert errors.count("error: model: net: no weights on this machine\n") == 1, errors


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    words = ("trainer.epochs=4", "trainer.accumulation_steps=2", "trainer.ema=true", *TINY, "data.limit=30")
    (tmp_path / "whole").mkdir()
    told = [word for word in words if word != "logger=none"]  # and so looks at pictures, in the first process alone
    whole = start(*told, cwd=tmp_path / "whole")
    _, errors = whole.communicate(timeout=300)
    assert whole.returncode == 0, errors
    (left_alone,) = runs_in(tmp_path / "whole")
    assert (left_alone / "figures" / "predictions.png").exists()
    assert json.loads((left_alone / "summary.json").read_text())["processes"] == 2
    process = start(*words, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert f"torchrun --standalone --nproc_per_node=2 train_segmentation.py resume=experiments/{run.name}" in errors
    assert RunFolder(run).read_summary()["status"] == "interrupted"
    process = start(f"resume={run}", cwd=tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for one, other in zip(end_of(left_alone), end_of(run), strict=True):
        assert_equal(one, other)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all(tmp_path: Path) -> None:
    process = start("trainer.epochs=1000", *TINY, cwd=tmp_path)
    run = trained_an_epoch(process, tmp_path)
    (other,) = (p for p in psutil.Process(process.pid).children() if p.environ().get("RANK") == "1")
    other.kill()
    killed = time.monotonic()
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0 and time.monotonic() - killed < 15
    assert RunFolder(run).read_summary()["status"] == "failed", errors
    # What is left is whole, and one process can go on with it.
    epochs = load_checkpoint(run / "checkpoints" / "last.pt")["epoch"] + 1
    succeeded(run_command("train_segmentation.py", f"resume={run}", f"trainer.epochs={epochs}", cwd=tmp_path))
    assert [row["epoch"] for row in RunFolder(run).read_rows()] == list(range(1, epochs + 1))
