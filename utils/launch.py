"""Starts the entry points: everything between the command line and a task that runs in a folder of its own.

`launch` starts an entry point. What is wrong in its config is refused before anything slow is imported, in a line
or two. `RunFolderCallback` gives each run a folder that no other run has.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hydra
import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from utils import command_line, sweep, torchrun
from utils.config import advice, check, in_sweep, options_chosen, output_folder, plain, typed_words
from utils.errors import DataFault, LostProcess, Occupied, PartlyFailed, UserError
from utils.explain import explain
from utils.files import only_one
from utils.groups import CONF
from utils.interruption import Interrupted
from utils.quoting import as_typed, quote
from utils.run_folder import RunFolder
from utils.sweep_words import RECORD
from utils.text import cleaned

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]

PATIENCE = 60.0
"""Seconds that the jobs of a sweep have to save their state when it is terminated."""

LONGEST_LINE = 1000
"""Characters of a line of a message; it may repeat what was typed."""

_made: Path | None = None  # the folder that this process made for its run or sweep
_sweep: Path | None = None  # the folder of the sweep that this process runs
_jobs_elsewhere = False  # whether a launcher runs its jobs in processes of their own
_has_started = False  # whether a run is under way
_resume_with: str | None = None  # the command that continues the run that is under way
_full_error = False  # whether the user wants tracebacks of mistakes


def launch(task: Task, config_name: str) -> None:
    """Composes the config `conf/<config_name>.yaml` from the command line, runs the task with it, and exits.

    Exit codes: 0, 1 for an internal failure (and a sweep with a failed job), 2 for a mistake of the user's,
    130 and 143 for Ctrl-C and SIGTERM.
    """
    global _full_error, _made, _sweep
    _made = _sweep = None
    _full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise what it would print at length
    logging.captureWarnings(True)
    signal.signal(signal.SIGTERM, _terminate)
    codes: list[int] = []
    complete = False
    try:
        if torchrun.launched() and (config_name != "train" or command_line.asks_for_a_sweep(sys.argv[1:])):
            raise UserError("torchrun is for one run of train_segmentation.py: start this without it")
        sys.argv[1:] = command_line.words(sys.argv[1:], config_name)
        decorate = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
        decorate(_guarded(task, config_name, codes))()
        complete = True
    except BrokenPipeError:  # `--help | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # between the jobs of a sweep, or while other processes run them
        codes.append(130)
    except Exception as error:  # the task's own are dealt with in `_guarded`: what comes here is from composing ...
        _discard_folder()
        if _sweep is None or not _sweep.is_dir() or isinstance(error, UserError):
            _refuse(error)
        print(f"error: {cleaned(explain(error))}", file=sys.stderr)  # ... or from a launcher or sweeper
        codes.append(1)
    finally:
        if _sweep is not None and _sweep.is_dir():
            print(sweep.ending(_sweep, complete))
    if _sweep is not None and not sweep.is_finished(_sweep):
        codes.append(1)
    sys.exit(max(codes, default=0))


def _terminate(*_: object) -> None:
    """Ends in order at a SIGTERM, after the jobs of a sweep that a launcher runs in other processes."""
    if _jobs_elsewhere and _sweep is not None:
        jobs, deadline = sweep.running(_sweep), time.monotonic() + PATIENCE
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                child.terminate()
        # Not for the processes: a launcher's may go on with the next job until this one ends.
        while jobs & sweep.running(_sweep) and time.monotonic() < deadline:
            time.sleep(0.1)
    sys.exit(143)


def overrides() -> list[str]:
    """What was typed on the command line for this run, one of a sweep's combinations included."""
    words = [word.removeprefix("++") for word in typed_words(HydraConfig.get())]
    return [as_typed(word) for word in words]


def started(resume_with: str | None) -> None:
    """Notes that a run has begun, and the command to continue it with, which is told whatever ends the run."""
    global _has_started, _resume_with
    _has_started, _resume_with = True, resume_with


class RunFolderCallback(Callback):
    """Checks the config, then makes the folder of the run or sweep; neither happens for --help or --cfg."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        try:
            if torchrun.rank() == 0:
                check(config, "train")
            if torchrun.launched():
                _join()
            if config.resume is None and torchrun.rank() == 0:
                config.hydra.run.dir = _make_folder(config, "hydra.run.dir")
            if torchrun.launched():
                _share_folder(config)
        except UserError as error:  # Hydra turns an exception of a callback into a warning
            _refuse(error)
        except Exception:
            traceback.print_exc()
            sys.exit(1)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        global _sweep, _jobs_elsewhere
        _jobs_elsewhere = not str(config.hydra.launcher._target_).endswith(".BasicLauncher")
        # For jobs that a launcher starts as programs of their own.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CONF.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        if config.get("sweep") is not None:  # its folder is named by a word of the command line
            _sweep = Path(config.hydra.sweep.dir)
            sweep.forget_refused(_sweep)
            return
        try:
            folder = _make_folder(config, "hydra.sweep.dir")
        except UserError as error:
            _refuse(error)
        _sweep = Path(folder)
        config.hydra.sweep.dir = folder
        OmegaConf.save(config, _sweep / RECORD)  # only one of the sweepers does
        # Jobs are composed anew, from these.
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(folder)}")


def _join() -> None:
    """Joins the other processes of torchrun, which must be able to end this one while it waits for them."""
    from engine import distributed

    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    distributed.join()
    if distributed.rank() == 0:  # the others have nothing to put in order
        signal.signal(signal.SIGTERM, handler)


def _share_folder(config: DictConfig) -> None:
    """Has all processes work in the first one's folder, and lets the others speak of errors alone."""
    from engine import distributed

    config.hydra.run.dir = distributed.from_first(config.hydra.run.dir)
    if distributed.rank() > 0:
        config.hydra.output_subdir = None
        config.hydra.job_logging.root.level = "ERROR"


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


def _guarded(task: Task, config_name: str, codes: list[int]) -> Task:
    """The task, with what ends it turned into a message and an exit code; one job of a sweep ends only itself.

    Launchers send it to other processes, with copies of what it names here: what changes, functions tell.
    """

    @functools.wraps(task)
    def run(cfg: DictConfig) -> Any:
        _forget_the_run_before()
        is_job = in_sweep()
        try:
            check(cfg, config_name)
            with _folder_of(cfg, config_name):
                value = task(cfg)
            return None if value != value else value  # a NaN would end a search; None is a failed trial of it
        except Interrupted as stop:
            log.warning("%s: stopped, with everything saved%s", stop, _way_on())
            sys.exit(128 + stop.signal)
        except KeyboardInterrupt:
            log.warning("interrupted%s", _way_on())
            _discard_folder()
            sys.exit(130)
        except SystemExit:  # SIGTERM
            log.warning("terminated%s", _way_on())
            _discard_folder()
            raise
        except Occupied as error:
            log.error("%s", error, exc_info=_full_error)
            codes.append(1 if is_job else 2)
            if is_job:
                sweep.note_refused(output_folder(), str(error))
            return None
        except UserError as error:
            if torchrun.rank() > 0 and not _is_under_way():
                _wait_for_the_first()
            way_on = _way_on() if error.goes_on else ""
            if cfg.get("resume") and not _is_under_way():
                _leave_log_alone()
            log.error("%s%s%s", error, _doctor(error, cfg), way_on, exc_info=_full_error)
            codes.append(1 if is_job else 2)
            failure = str(error)
        except LostProcess as error:
            if _is_under_way():  # or it was a mistake, which the first process has told
                log.error("%s%s", error, _way_on())
            codes.append(1)
            return None
        except PartlyFailed as error:
            log.error("%s", error)
            codes.append(1)
            failure = str(error)
        except Exception as error:
            who = f"process {torchrun.rank()} failed" if torchrun.launched() else "failed"
            log.exception("%s%s", who, _way_on())
            codes.append(1)
            failure = f"{type(error).__name__}: {error}"
        finally:
            if is_job:
                _free_memory()
        if codes[-1] == 2:
            _discard_folder()
        elif is_job or _made is not None:
            _record_failure(cfg, failure)
        return None

    return run


def _leave_log_alone() -> None:
    """Have messages go to the console only: a run that is refused before it goes on keeps its folder as it was."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _folder_of(cfg: DictConfig, config_name: str) -> Iterator[None]:
    """Keeps other processes from training in the folder of this run, and a sweep's job from another job's work."""
    if config_name != "train" or torchrun.rank() > 0:
        yield
        return
    folder = RunFolder(output_folder())
    with only_one(folder.path):
        if in_sweep():
            sweep.check_same(folder, plain(cfg))
        yield


def _record_failure(cfg: DictConfig, failure: str) -> None:
    """Tells the folder of a run that it failed; of one that failed before it had begun, also what it was."""
    folder = RunFolder(output_folder())
    with suppress(UserError, ValueError):  # of a summary.json that is damaged
        folder.update_summary(status="failed", error=failure, overrides=overrides(), options=options_chosen())
    with suppress(UserError, OmegaConfBaseException):
        if not (folder.path / "config.yaml").exists():
            folder.write_config(plain(cfg))


def _free_memory() -> None:
    """Gives back what a job held, so that the next of a sweep has all of it."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        torch.cuda.empty_cache()


def _forget_the_run_before() -> None:
    global _has_started, _resume_with
    _has_started, _resume_with = False, None


def _is_under_way() -> bool:
    return _has_started


def _way_on() -> str:
    """How to continue the run, if something of it is there to continue."""
    last = RunFolder(output_folder()).last
    if _resume_with is None or not os.path.exists(last):  # noqa: PTH110 - never raises
        return ""
    return f"\ngo on from the last checkpoint with: {_resume_with}"


def _doctor(error: UserError, cfg: DictConfig) -> str:
    """How to find all that is wrong with the data, if that is what is wrong."""
    if not isinstance(error, DataFault) or not cfg.get("data"):
        return ""
    return f"\n{advice(plain(cfg.data))}"


def _refuse(error: Exception) -> None:
    """Says what is wrong, and exits; of several processes the first does."""
    if torchrun.rank() > 0:
        _wait_for_the_first()
    if _full_error:
        traceback.print_exception(error)
    message = str(error) if isinstance(error, UserError) else explain(error)
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in message.split("\n")]
    print("error: " + cleaned("\n".join(lines)), file=sys.stderr)
    sys.exit(2)


def _wait_for_the_first() -> None:
    """Lets the first process, which has made the same mistake, tell it; torchrun then ends this one."""
    time.sleep(30)
    sys.exit(2)


def _make_folder(config: DictConfig, key: str) -> str:
    """Makes the folder that a key names, which nothing else may have made; returns its path."""
    global _made
    while True:
        try:
            folder = Path(OmegaConf.select(config, key))
        except OmegaConfBaseException as error:
            raise UserError(explain(error)) from error
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            # The name holds the time in microseconds: ask for it again.
            time.sleep(1e-5)
            OmegaConf.clear_cache(config)
            if Path(OmegaConf.select(config, key)) == folder or not folder.is_dir():
                raise UserError(f"{folder} exists already, or a file of that name is in the way") from None
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}; say {key}=<a folder>") from error
        else:
            _made = folder.resolve()
            return str(folder)


def _discard_folder() -> None:
    """Removes the folder that this process made, unless something in it is worth keeping."""
    if _made is None or any(_made.rglob("summary.json")):
        return
    if _sweep is None or all(path.name == RECORD for path in _made.iterdir()):  # no job has been begun
        shutil.rmtree(_made, ignore_errors=True)
