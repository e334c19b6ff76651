"""Starts the entry points: everything between the command line and a task that runs in a folder of its own.

What is wrong in a config is refused before anything slow is imported, in a line or two.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cli import command_line, sweep
from cli.config import advice, check, in_sweep, options_chosen, output_folder, plain, typed_words
from cli.endings import ending_of, in_user_words
from cli.explain import explain
from cli.quoting import as_typed
from cli.session import session
from cli.start import refuse, wait_for_the_first
from utils import console, torchrun
from utils.errors import DataFault, LostProcess, Occupied, UserError, without_addresses
from utils.files import lock_folder, remove_empty_folders
from utils.groups import CONF
from utils.interruption import Interrupted, end_at_once, raise_between_imports
from utils.run_folder import RunFolder
from utils.text import cleaned

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]


def launch(task: Task, config_name: str) -> None:
    """Compose the config `conf/<config_name>.yaml` from the command line, run the task with it, and exit.

    Exit codes: 0, 1 for an internal failure (and a sweep with a failed job), 2 for a mistake of the user's,
    130 and 143 for Ctrl-C and SIGTERM.
    """
    session.begin(full_error=os.environ.get("HYDRA_FULL_ERROR") == "1")
    console.prepare()
    end_at_once(session.clean_up)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise what it would print at length
    logging.captureWarnings(True)
    complete = False
    try:
        complete = _compose_and_run(task, config_name)
    except KeyboardInterrupt:  # between the jobs of a sweep, or while other processes run them
        session.codes.append(130)
    except SystemExit as end:
        session.codes.append(end.code if isinstance(end.code, int) else int(end.code is not None))
    end_at_once(session.clean_up)
    code = max(session.codes, default=0)
    if code != 0:
        session.clean_up()
    remove_empty_folders()
    if code != 2 and session.sweep is not None and session.sweep.is_dir():
        print(sweep.ending(session.sweep, complete))
        code = max(code, 0 if sweep.is_finished(session.sweep) else 1)
    lost = console.output_error()
    if lost is not None and config_name != "train":  # whose results are in its folder
        print(f"error: the output cannot be written ({lost})", file=sys.stderr)
        code = max(code, 1)
    sys.exit(code)


def _compose_and_run(task: Task, config_name: str) -> bool:
    """Run the task, or the jobs of a sweep; returns whether all of them had their turn."""
    try:
        sweeps = command_line.asks_for_a_sweep(sys.argv[1:])
        if torchrun.launched() and (config_name != "train" or sweeps):
            raise UserError("torchrun is for one run of train_segmentation.py: start this without it")
        if config_name != "train" and _asks_for_multirun(sys.argv[1:]):
            raise UserError("--multirun is for train_segmentation.py: start this once for each value")
        sys.argv[1:] = command_line.words(sys.argv[1:], config_name)
        decorate = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
        decorate(GuardedTask(task, config_name))()
        if session.sweep is not None and not session.jobs_begun():
            raise UserError("--multirun: there is nothing to run, since a range or list of values is empty")
    except Exception as error:  # the task's own are dealt with in `GuardedTask`: what comes here is from composing ...
        if not session.jobs_begun() or isinstance(error, UserError):
            refuse(error)
        print(
            f"error: {cleaned(without_addresses(explain(error)))}", file=sys.stderr
        )  # ... or from a launcher or sweeper
        session.codes.append(1)
        return False
    return True


def _asks_for_multirun(words: list[str]) -> bool:
    flags = [word for word in words if word.startswith("-")]
    return command_line.asks_for_a_sweep(flags) or "hydra.mode=MULTIRUN" in words


def overrides() -> list[str]:
    """What was typed on the command line for this run, one of a sweep's combinations included."""
    words = [word.removeprefix("++") for word in typed_words(HydraConfig.get())]
    return [as_typed(word) for word in words]


class GuardedTask:
    """A task, with what ends it turned into a message and an exit code; one job of a sweep ends only itself.

    Launchers send it to other processes.
    """

    def __init__(self, task: Task, config_name: str) -> None:
        functools.update_wrapper(self, task)
        self.task, self.config_name = task, config_name

    def __call__(self, cfg: DictConfig) -> Any:
        session.under_way, session.resume_with = False, None
        try:
            console.prepare()
            if session.main and torchrun.rank() == 0 and not session.jobs_elsewhere:
                raise_between_imports(session.clean_up)
            check(cfg, self.config_name)
            with _folder_of(cfg, self.config_name):
                value = self.task(cfg)
            return None if value != value else value  # a NaN would end a search; None is a failed trial of it
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return _end(error, cfg)
        finally:
            if in_sweep():
                _free_memory()


def _end(raised: BaseException, cfg: DictConfig) -> None:
    """Say what ended a task, and note it in the folder of the run.

    Raises:
        SystemExit: at a signal, which ends a whole sweep.
    """
    error = in_user_words(raised)
    ending, is_job = ending_of(error), in_sweep()
    if isinstance(error, UserError) and torchrun.rank() > 0 and not session.under_way:
        wait_for_the_first()
    if isinstance(error, UserError) and cfg.get("resume") and not session.under_way:
        _leave_log_alone()
    if not isinstance(error, LostProcess) or session.under_way:  # or it was a mistake, which the first one has told
        who = f"process {torchrun.rank()} " if torchrun.launched() and ending.traceback else ""
        resume_hint = session.resume_hint() if ending.resume_hint and getattr(error, "resumable", True) else ""
        trace = raised if ending.traceback or (session.full_error and ending.level == logging.ERROR) else None
        text = who + ending.message.format(error=without_addresses(str(error))) + _data_advice(error, cfg) + resume_hint
        log.log(ending.level, "%s", text, exc_info=trace)
    if isinstance(error, Interrupted):
        sys.exit(ending.code + error.signal)
    if ending.level == logging.WARNING:
        sys.exit(ending.code)
    session.codes.append(1 if is_job else ending.code)
    if is_job and isinstance(error, Occupied):
        sweep.note_refused(output_folder(), str(error))
    if ending.is_failure and (is_job or (session.folder is not None and ending.code != 2)):
        _record_failure(cfg, f"{type(error).__name__}: {error}" if ending.traceback else str(error))


def _leave_log_alone() -> None:
    """Have messages go to the console only: a run that is refused before it goes on keeps its folder as it was."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _folder_of(cfg: DictConfig, config_name: str) -> Iterator[None]:
    """Keep other processes from training in the folder of this run, and a sweep's job from another job's work."""
    if config_name != "train" or torchrun.rank() > 0:
        yield
        return
    folder = RunFolder(output_folder())
    with lock_folder(folder.path):
        if in_sweep():
            sweep.check_same(folder, plain(cfg))
        yield


def _record_failure(cfg: DictConfig, failure: str) -> None:
    """Tell the folder of a run that it failed; of one that failed before it had begun, also what it was."""
    folder = RunFolder(output_folder())
    with suppress(UserError, ValueError):  # of a summary.json that is damaged
        folder.update_summary(status="failed", error=failure, overrides=overrides(), options=options_chosen())
    with suppress(UserError, OmegaConfBaseException):
        if not (folder.path / "config.yaml").exists():
            folder.write_config(plain(cfg))


def _data_advice(error: BaseException, cfg: DictConfig) -> str:
    """How to find all that is wrong with the data, if that is what is wrong."""
    if not isinstance(error, DataFault) or not cfg.get("data"):
        return ""
    return f"\n{advice(plain(cfg.data))}"


def _free_memory() -> None:
    """Give back what a job held, so that the next of a sweep has all of it."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        torch.cuda.empty_cache()
