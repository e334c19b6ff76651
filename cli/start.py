"""The start of a run or sweep: its config is checked, and its folder made."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cli import sweep
from cli.config import check
from cli.endings import in_user_words
from cli.explain import explain
from cli.quoting import quote
from cli.session import session
from cli.sweep_words import RECORD
from utils import torchrun
from utils.errors import UserError
from utils.groups import CONF
from utils.interruption import held_back, raise_between_imports
from utils.text import cleaned

PATIENCE = 60.0
"""Seconds that the jobs of a sweep have to save their state when it is terminated."""

LONGEST_LINE = 1000
"""Characters of a line of a message; it may repeat what was typed."""


class RunFolderCallback(Callback):
    """Checks the config, then makes the folder of the run or sweep; neither happens for --help or --cfg."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with _answering():
            if torchrun.rank() == 0:
                check(config, "train")
            if torchrun.launched():
                _join()
            if config.resume is None and torchrun.rank() == 0:
                config.hydra.run.dir = _make_folder(config, "hydra.run.dir")
            if torchrun.launched():
                _share_folder(config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with _answering():
            self._start_sweep(config)

    def _start_sweep(self, config: DictConfig) -> None:
        session.jobs_elsewhere = not str(config.hydra.launcher._target_).endswith(".BasicLauncher")
        # For jobs that a launcher starts as programs of their own.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CONF.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        if config.get("sweep") is not None:  # its folder is named by a word of the command line
            session.sweep = Path(config.hydra.sweep.dir)
            sweep.forget_refused(session.sweep)
        else:
            folder = _make_folder(config, "hydra.sweep.dir")
            session.sweep = Path(folder)
            config.hydra.sweep.dir = folder
            OmegaConf.save(config, session.sweep / RECORD)  # only one of the sweepers does
            # Jobs are composed anew, from these.
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(folder)}")
        if session.jobs_elsewhere:
            raise_between_imports(session.clean_up, _end_jobs)


@contextmanager
def _answering() -> Iterator[None]:
    """Exit at an exception, of which Hydra would make a warning."""
    try:
        yield
    except Exception as error:
        if isinstance(in_user_words(error), UserError):
            refuse(error)
        traceback.print_exc()
        sys.exit(1)


def _end_jobs() -> None:
    """Have the jobs of a sweep that run in other processes end before this one."""
    if session.sweep is None:
        return
    import psutil

    jobs, deadline = sweep.running(session.sweep), time.monotonic() + PATIENCE
    for child in psutil.Process().children():
        try:
            child.terminate()
        except psutil.Error:
            continue
    # Not for the processes: a launcher's may go on with the next job until this one ends.
    while jobs & sweep.running(session.sweep) and time.monotonic() < deadline:
        time.sleep(0.1)


def refuse(error: Exception) -> None:
    """Say what is wrong, and exit; of several processes the first does."""
    if torchrun.rank() > 0:
        wait_for_the_first()
    if session.full_error:
        traceback.print_exception(error)
    error = in_user_words(error)  # type: ignore[assignment]
    message = str(error) if isinstance(error, UserError) else explain(error)
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in message.split("\n")]
    print("error: " + cleaned("\n".join(lines)), file=sys.stderr)
    sys.exit(2)


def wait_for_the_first() -> None:
    """Let the first process, which has made the same mistake, tell it; torchrun then ends this one."""
    time.sleep(30)
    sys.exit(2)


def _join() -> None:
    """Join the other processes of torchrun, which must be able to end this one while it waits for them."""
    from engine import distributed

    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    distributed.join()
    if distributed.rank() == 0:  # the others have nothing to put in order
        signal.signal(signal.SIGTERM, handler)


def _share_folder(config: DictConfig) -> None:
    """Have all processes work in the first one's folder, and let the others speak of errors only."""
    from engine import distributed

    config.hydra.run.dir = distributed.from_first(config.hydra.run.dir)
    if distributed.rank() > 0:
        config.hydra.output_subdir = None
        config.hydra.job_logging.root.level = "ERROR"


def _make_folder(config: DictConfig, key: str) -> str:
    """Make the folder that a key names, which nothing else may have made; returns its path."""
    while True:
        try:
            folder = Path(OmegaConf.select(config, key))
        except OmegaConfBaseException as error:
            raise UserError(explain(error)) from error
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with held_back():
                folder.mkdir()
                session.folder = folder.resolve()
        except FileExistsError:
            # The name holds the time in microseconds: ask for it again.
            time.sleep(1e-5)
            OmegaConf.clear_cache(config)
            if Path(OmegaConf.select(config, key)) == folder or not folder.is_dir():
                raise UserError(f"{folder} exists already, or a file of that name is in the way") from None
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}; pass {key}=<a folder>") from error
        else:
            return str(folder)


def _run_name(*, _root_: DictConfig) -> str:
    """What the name of a run folder ends with."""
    choices = _root_.hydra.runtime.choices
    return _root_.get("name") or f"{choices.get('model')}_{choices.get('data')}".replace("/", "_")


def _first_start(*, _root_: DictConfig) -> str | None:
    """`.hydra`, where Hydra keeps its record of a run; None where a resumed run has one."""
    folder = OmegaConf.select(_root_, "hydra.runtime.output_dir") or ""
    return None if Path(folder, ".hydra", "config.yaml").exists() else ".hydra"


OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
OmegaConf.register_new_resolver("first_start", _first_start, replace=True)
