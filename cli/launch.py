"""Start the entry points: from the command line to a task that runs in its folder.

A mistake in the config is reported before anything slow is imported.
"""

from __future__ import annotations

import functools
import gc
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

import hydra
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cli import command_line
from cli.endings import ENDINGS, as_resource_error
from cli.explain import explain
from cli.flags import has_flag
from cli.help import explained
from cli.start import check, leave_report_to_first_process, refuse
from config.current_run import in_sweep, options_chosen, output_folder, overrides
from config.nodes import data_advice, plain
from runs.session import session
from sweeps import sweep
from utils import console, torchrun
from utils.config_groups import CONF
from utils.errors import DataFault, LostProcess, Occupied, UserError, without_addresses
from utils.files import lock_folder, remove_empty_folders
from utils.interruption import Interrupted, end_at_once, raise_between_imports
from utils.memory import look_for_garbage_rarely
from utils.run_folder import RunFolder
from utils.text import cleaned

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]


def launch(task: Task, config_name: str) -> None:
    """Compose the config `conf/<config_name>.yaml` from the command line, run the task with it, and exit.

    Exit codes: 0; 1 for an internal failure or a sweep with a failed job; 2 for a mistake of the user; 130 and 143 for
    Ctrl-C and SIGTERM.
    """
    look_for_garbage_rarely()
    session.begin(full_error=os.environ.get("HYDRA_FULL_ERROR") == "1")
    console.prepare()
    end_at_once(session.clean_up)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise exceptions instead of printing them
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
        print(sweep.summary(session.sweep, complete))
        code = max(code, 0 if sweep.is_finished(session.sweep) else 1)
    lost = console.output_error()
    if lost is not None and config_name != "train":  # the results of a training are in its folder
        print(f"error: the output cannot be written ({lost})", file=sys.stderr)
        code = max(code, 1)
    gc.freeze()  # or Python looks through all objects once more as it ends, for 0.3 s
    sys.exit(code)


def _compose_and_run(task: Task, config_name: str) -> bool:
    """Run the task, or the jobs of a sweep. Return whether all jobs were started."""
    try:
        words = sys.argv[1:]
        sweeps = command_line.is_sweep(words)
        if torchrun.launched() and (config_name != "train" or sweeps):
            raise UserError("torchrun is for one run of train_segmentation.py: start this without it")
        if config_name != "train" and (has_flag(words, "multirun") or "hydra.mode=MULTIRUN" in words):
            raise UserError("--multirun is for train_segmentation.py: start this once for each value")
        sys.argv[1:] = command_line.hydra_words(words, config_name)
        for message in command_line.repeated_keys(words) if torchrun.rank() == 0 else ():
            print(f"warning: {cleaned(message)}", file=sys.stderr)
        decorate = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
        run = decorate(GuardedTask(task, config_name))
        if has_flag(words, "help"):
            _help(run, config_name, words)
        else:
            run()
        if session.sweep is not None and not session.jobs_begun():
            raise UserError("--multirun: there is nothing to run, since a range or list of values is empty")
    except Exception as error:  # raised by Hydra, its launcher or its sweeper; `GuardedTask` handles the task's own
        if not session.jobs_begun() or isinstance(error, UserError):
            refuse(error)
        print(f"error: {cleaned(without_addresses(explain(error)))}", file=sys.stderr)
        session.codes.append(1)
        return False
    return True


def _help(run: Callable[[], Any], config_name: str, words: list[str]) -> None:
    """Print Hydra's help with the comments of the keys. Hydra exits after it."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            run()
    finally:
        print(explained(printed.getvalue(), config_name, words), end="")


class GuardedTask:
    """A task whose exceptions become a message and an exit code. A failed job does not end its sweep.

    Launchers pickle it for other processes.
    """

    def __init__(self, task: Task, config_name: str) -> None:
        functools.update_wrapper(self, task)
        self.task, self.config_name = task, config_name

    def __call__(self, cfg: DictConfig) -> Any:
        session.training, session.resume_command = False, None
        try:
            console.prepare()
            if session.main and torchrun.rank() == 0 and not session.jobs_elsewhere:
                raise_between_imports(session.clean_up)
            check(cfg, self.config_name)
            with _own_folder(cfg, self.config_name):
                return self.task(cfg)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return _end(error, cfg)
        finally:
            if in_sweep():
                _free_memory()


def _end(raised: BaseException, cfg: DictConfig) -> None:
    """Report what ended a task, and record it in the run folder.

    Raises:
        SystemExit: at a signal, which ends a whole sweep.
    """
    error = as_resource_error(raised)
    ending, is_job = next(ending for ending in ENDINGS if isinstance(error, ending.error)), in_sweep()
    if not is_job:
        end_at_once(session.clean_up)  # an exception by a signal could be swallowed while the error is logged
    if isinstance(error, UserError) and not session.training:
        leave_report_to_first_process()
        if cfg.get("resume"):
            _close_log_file()
    if not isinstance(error, LostProcess) or session.training:  # otherwise another process reports a mistake
        who = f"process {torchrun.rank()} " if torchrun.launched() and ending.traceback else ""
        hint = session.resume_hint() if ending.resume_hint and getattr(error, "resumable", True) else ""
        trace = raised if ending.traceback or (session.full_error and ending.level == logging.ERROR) else None
        data = plain(cfg.data) if isinstance(error, DataFault) and cfg.get("data") else {}
        advice = f"\n{data_advice(data)}" if "_target_" in data else ""  # otherwise a checkpoint names the data set
        text = who + ending.message.format(error=without_addresses(str(error))) + advice + hint
        log.log(ending.level, "%s", text, exc_info=trace)
    if isinstance(error, Interrupted):
        sys.exit(ending.code + error.signal)
    if ending.level == logging.WARNING:
        sys.exit(ending.code)
    session.codes.append(min(ending.code, 1) if is_job else ending.code)
    if is_job and isinstance(error, Occupied):
        sweep.note_refused(output_folder(), str(error))
    if ending.is_failure and (is_job or (session.folder is not None and ending.code != 2)):
        _record_failure(cfg, f"{type(error).__name__}: {error}" if ending.traceback else str(error))


def _close_log_file() -> None:
    """Log to the console only, so that a run that cannot be resumed keeps its folder unchanged."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _own_folder(cfg: DictConfig, config_name: str) -> Iterator[None]:
    """Keep other processes out of the run folder, and refuse a job whose folder holds another run."""
    if config_name != "train" or torchrun.rank() > 0:
        yield
        return
    folder = RunFolder(output_folder())
    with lock_folder(folder.path):
        if in_sweep():
            sweep.check_same_config(folder, plain(cfg))
        yield


def _record_failure(cfg: DictConfig, failure: str) -> None:
    """Write a failure to summary.json, and config.yaml if the run had not written it yet."""
    folder = RunFolder(output_folder())
    with suppress(UserError, ValueError):  # summary.json is damaged
        folder.update_summary(status="failed", error=failure, overrides=overrides(), options=options_chosen())
    with suppress(UserError, OmegaConfBaseException):
        if not (folder.path / "config.yaml").exists():
            folder.write_config(plain(cfg))


def _free_memory() -> None:
    """Free the memory of a job for the next one of a sweep."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        torch.cuda.empty_cache()
