"""Helpers and fixtures of several test files: real commands, a small CamVid on disk, a finished run."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from tests.command_server import HEAVY, LIBRARIES, LIGHT, CommandServer
from tests.data.layouts import make_camvid
from utils.memory import look_for_garbage_rarely

look_for_garbage_rarely()  # a tenth of the time of tests

# Processes of several threads each would be in each other's way; and runs in this process equal those of commands.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell starts background jobs so, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("same each time", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same each time")

pytest.register_assert_rewrite("tests.models.tester", "tests.in_process")

ROOT = Path(__file__).resolve().parent.parent
Command = Callable[..., subprocess.CompletedProcess]

CAN_SEARCH = bool(find_spec("optuna")) and not find_spec("hydra_plugins.hydra_optuna_sweeper")
"""Whether hydra/sweeper=optuna works: Optuna is installed, and not the sweeper of other programs of the same name."""

TINY = (
    "trainer.device=cpu",
    "data.image_size=[32,32]",
    "data.limit=8",
    "data.batch_size=4",
    "data.num_workers=0",
    "logger=none",
)
"""Overrides for a run of a second or two."""


def run_command(
    *words: str, cwd: Path, fresh: bool = False, light: bool = False, copied: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Run `python <words>` as a user would, in the folder `cwd`, with a script of the repository.

    Args:
        words: a script, or `-m` and a module, and its arguments.
        fresh: start a new process, which imports everything itself.
        light: fork from a process without torch; stderr gets a line `imported: torch` if the command imports it.
        copied: as `light`, from a process without the project's modules, for a script of a copy of the project.
    """
    process = _start(words, cwd, environment, fresh=fresh, light=light, copied=copied, stdout=subprocess.PIPE)
    try:
        out, errors = process.communicate(timeout=300)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def start_command(
    *words: str,
    cwd: Path,
    fresh: bool = False,
    light: bool = False,
    stdout: int = subprocess.DEVNULL,
    **environment: str,
) -> subprocess.Popen:
    """Start `python <words>` and capture its stderr."""
    process = _start(words, cwd, environment, fresh=fresh, light=light, stdout=stdout)
    _started.append(process)
    return process


def _start(
    words: Sequence[str],
    cwd: Path,
    more: Mapping[str, str],
    *,
    stdout: int,
    fresh: bool = False,
    light: bool = False,
    copied: bool = False,
) -> subprocess.Popen:
    if words[0] != "-m":
        words = [str(ROOT / words[0]), *words[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    if not fresh and CAN_FORK:
        server = command_server(light=light, copied=copied)
        if server.serves(environment):
            return server.start(words, cwd, environment, read_stdout=stdout == subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


CAN_FORK = sys.platform == "linux"  # elsewhere libraries may have started threads


@functools.cache
def command_server(light: bool, copied: bool = False) -> CommandServer:
    """Return this process's server, which has imported torch and other slow libraries unless `light` or `copied`."""
    modules = LIBRARIES if copied else LIGHT if light else HEAVY
    server = CommandServer(modules, watched=[] if modules is HEAVY else ["torch"])
    atexit.register(server.close)
    if server.trouble:
        warnings.warn(f"each command is a process of its own: {server.trouble}", stacklevel=1)
    return server


_started: list[subprocess.Popen] = []


@pytest.fixture(scope="session", autouse=True)
def _conf_is_parsed_once() -> Iterator[None]:
    """Parse each file of conf/ once: Hydra parses twenty per command, in an eighth of the time of composing."""
    load = OmegaConf.load

    @functools.cache
    def parsed(path: str) -> Any:
        return yaml.load(Path(path).read_text(encoding="utf-8"), get_yaml_loader())

    def load_once(file: Any) -> Any:
        path = str(getattr(file, "name", file))
        if not path.startswith(f"{ROOT}/conf/"):
            return load(file)
        return OmegaConf.create(parsed(path) or {})

    with mock.patch.object(OmegaConf, "load", load_once):
        yield


@pytest.fixture(scope="session", autouse=True)
def _disks_are_not_waited_for() -> Iterator[None]:
    """Leave it to the system when files reach the disk: a short training waits twenty times for that."""
    with mock.patch.object(os, "fsync", lambda _: None):
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Kill what a failed test has left running, and restore the environment, which decides what may be forked."""
    with mock.patch.dict(os.environ):
        yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it may end at this moment
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(pattern: str, folder: Path, process: subprocess.Popen) -> Path:
    """Wait until the process has made a file in the folder, and return its path."""
    deadline = time.monotonic() + 300
    while (found := next(folder.glob(pattern), None)) is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def trained_an_epoch(process: subprocess.Popen, folder: Path) -> Path:
    """Wait until the only run below `folder` has trained for an epoch, and return its folder.

    It must have many more to go, since this process may have to wait for a busy machine.
    """
    return wait_for("experiments/2*/metrics.csv", folder, process).parent


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders below `experiments/`, sorted."""
    experiments = folder / "experiments"
    return sorted(path for path in experiments.iterdir() if path.name != "latest") if experiments.is_dir() else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests named in a class's `slow` as slow, for that class only."""
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname in getattr(item.cls, "slow", ()):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed what draws random numbers, for fixtures: no number may depend on which tests ran before."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Seed it again for the test, which need not be the first that uses its fixtures."""
    pytest_runtest_setup()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have collections of garbage leave alone what the tests have imported: they take a third of short tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs on generated scenes. Tests must not change it."""
    from tests.in_process import run_here
    from train_segmentation import train

    folder = tmp_path_factory.mktemp("finished")
    words = [word for word in TINY if word != "logger=none"]
    # In this process, whose hash seed differs from that of the commands that must do the same.
    done = run_here(train, "train", "trainer.epochs=2", "name=tiny", *words, cwd=folder, draws=True)
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(folder)
    return run


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """The root of a CamVid of 4 training and 2 validation samples of 40x48, with every id from 0 to 11."""
    return make_camvid(tmp_path / "camvid")
