"""Signals at any moment of a start: 130 or 143, no traceback, nothing left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY

# Runs a command that sends itself a signal when it is about to import a module.
SENDS = """
import os, runpy, signal, sys
module, number, script, *words = sys.argv[1:]
class Finder:
    def find_spec(name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(Finder)
            os.kill(os.getpid(), int(number))
sys.meta_path.insert(0, Finder)
sys.path.insert(0, os.environ["ROOT"])
sys.argv[:] = [script if script.endswith(".py") else "-m", *words]  # as `python -m` while it looks for a module
if script.endswith(".py"):
    runpy.run_path(os.path.join(os.environ["ROOT"], script), run_name="__main__")
else:
    runpy.run_module(script, run_name="__main__", alter_sys=True)
"""
PHOTO = str(ROOT / "docs" / "predictions.png")
COMMANDS = {
    "train": ["train_segmentation.py", "trainer.epochs=1000", *TINY],
    "infer": ["infer.py", "model=unet", f"weights={PHOTO}", f"labels={PHOTO}", f"input={PHOTO}", "output=mask.png"],
    "evaluate": ["evaluate.py", "checkpoint=enet_camvid"],
    "compare": ["compare.py", "watch=true"],
    "benchmark": ["tools.benchmark", "model=[enet]"],
    "check_data": ["tools.check_data", "data=synthetic"],
    "find_lr": ["tools.find_lr", "output=lr.png", *TINY[:-1]],
    "export": ["tools.export", "checkpoint=enet_camvid", "output=model.onnx"],
}
MODULES = ["omegaconf", "hydra._internal.hydra", "antlr4", "numpy", "torch", "torch._C", "torch.optim", "cv2", "tqdm"]
NOT_IMPORTED = {
    "compare": {"numpy", "cv2", "torch", "torch._C", "torch.optim"},
    "check_data": {"torch", "torch._C", "torch.optim"},
}
QUICK = [
    ("train", "antlr4", signal.SIGTERM),
    ("train", "torch._C", signal.SIGTERM),
]
SLOW = [
    (command, module, signal.SIGINT)
    for command in COMMANDS
    for module in MODULES
    if module not in NOT_IMPORTED.get(command, set())
]


def assert_ended_in_order(code: int, number: int, errors: str, folder: Path) -> None:
    assert code == 128 + number, errors
    said = [line for line in errors.splitlines() if "img/s" not in line]
    assert {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[signal.Signals(number)] in said[-1], errors
    for word in ("Traceback", "Exception ignored", "Fatal", "terminate called", "Error"):
        assert word not in errors, errors
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert [path.name for path in folder.rglob("*")] in ([], ["experiments"])


@pytest.mark.parametrize(("command", "module", "number"), QUICK)
def test_in_an_import(tmp_path: Path, command: str, module: str, number: int) -> None:
    words = [sys.executable, "-c", SENDS, module, str(int(number)), *COMMANDS[command]]
    environment = {**os.environ, "ROOT": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert_ended_in_order(done.returncode, number, done.stderr, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "module", "number"), SLOW)
def test_in_any_import(tmp_path: Path, command: str, module: str, number: int) -> None:
    test_in_an_import(tmp_path, command, module, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["train", "find_lr"])
@pytest.mark.parametrize("seed", range(10))
def test_after_any_time(tmp_path: Path, command: str, number: int, seed: int) -> None:
    """A training may have begun by then: it is interrupted, and its folder kept."""
    delay = random.Random(f"{command} {seed}").uniform(0.1, 3)
    script, *words = COMMANDS[command]
    start = [str(ROOT / script)] if script.endswith(".py") else ["-m", script]
    process = subprocess.Popen(
        [sys.executable, *start, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    if list(tmp_path.glob("experiments/*/checkpoints/last.pt")):
        assert process.returncode == 128 + number and "Traceback" not in errors, errors
        return
    assert_ended_in_order(process.returncode, number, errors, tmp_path)
