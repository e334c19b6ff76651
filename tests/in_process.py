"""Run commands in the process of the tests."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from cli.launch import launch

FIGURES = (
    *("evaluation.report.draw_curves", "evaluation.report.draw_confusion", "evaluation.report.draw_predictions"),
    *("evaluation.results.draw_calibration", "evaluation.results.draw_confusion"),
    "evaluation.results.draw_predictions",
)
REPORT = "evaluation.report.report"
COUNT = "runs.building.multiply_adds"


def _blank(*arguments: Any) -> None:
    """Write a small picture in place of a figure, whose drawing takes as long as a short training."""
    path = arguments[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def run_here(
    task: Callable, config_name: str, *words: str, cwd: Path, draws: bool = False, reports: bool = False
) -> subprocess.CompletedProcess:
    """Run the command of an entry point in this process, which saves the imports.

    Args:
        draws: write the real figures of a training or an evaluation, not small empty pictures.
        reports: let a training count its multiply-adds and report its best checkpoint, with small empty pictures unless
            `draws`.
    """
    root, here, given = logging.getLogger(), Path.cwd(), sys.argv[1:]
    handlers, level = root.handlers[:], root.level
    answers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    out, err = io.StringIO(), io.StringIO()
    code = None
    os.chdir(cwd)
    sys.argv[1:] = words
    # Hydra composes the config twice: first to look for hydra.mode, which no config has.
    once = mock.patch.object(Hydra, "get_mode", lambda *_, **__: None)
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(), once, ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ))  # a sweep, for one, sets variables for its jobs
            os.environ.pop("HYDRA_FULL_ERROR", None)
            for name in () if draws else FIGURES:
                stack.enter_context(mock.patch(name, _blank))
            if not draws and not reports:
                stack.enter_context(mock.patch(REPORT, lambda *_: None))
                stack.enter_context(mock.patch(COUNT, lambda *_: 1e6))  # takes a tenth of a short training
            launch(task, config_name)
    except SystemExit as end:
        code = end.code
    finally:
        HydraConfig.instance().cfg = None  # so that ${hydra:} cannot be resolved before the next run starts
        os.chdir(here)
        sys.argv[1:] = given
        logging.captureWarnings(False)
        for number, answer in answers.items():
            signal.signal(number, answer)
        root.handlers[:] = handlers
        root.setLevel(level)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def succeeded(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """Return a command that has ended, after asserting that its exit code is 0."""
    assert done.returncode == 0, done.stderr
    return done


def assert_refused(done: subprocess.CompletedProcess, *fragments: str) -> None:
    """Assert exit code 2 and a message of one or two lines that contains the fragments."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and "img/s" not in line]
    assert done.returncode == 2, done.stderr
    assert len(lines) <= 2 and lines[0].startswith("error: "), done.stderr
    for fragment in fragments:
        assert fragment in done.stderr, done.stderr
