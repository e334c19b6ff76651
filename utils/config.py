"""Everything between the command line and a checked config; below the entry points, only this module knows Hydra.

`launch` starts an entry point. What is wrong in its config is refused before anything slow is imported, in a line
or two. `RunFolderCallback` gives each run a folder that no other run has.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from utils import checks, command_line, torchrun
from utils.checks import LOADER_KEYS, Origin, check_loader, differences
from utils.errors import DataFault, LostProcess, PartlyFailed, UserError
from utils.explain import explain
from utils.groups import CONF, options
from utils.interruption import Interrupted
from utils.run_folder import RunFolder

log = logging.getLogger(__name__)

CHECKS = {
    "train": checks.check_train,
    "evaluate": checks.check_evaluate,
    "infer": checks.check_infer,
    "benchmark": checks.check_benchmark,
    "compare": checks.check_compare,
    "check_data": checks.check_check_data,
    "preview_augmentation": checks.check_preview_augmentation,
    "find_lr": checks.check_find_lr,
}

Task = Callable[[DictConfig], Any]

_made: Path | None = None  # the folder that this process made for its run or sweep
_typed: list[str] = []  # the words of the command line, as they were typed
_has_started = False  # whether a run is under way
_resume_with: str | None = None  # the command that continues the run that is under way
_full_error = False  # whether the user wants tracebacks of mistakes


def launch(task: Task, config_name: str) -> None:
    """Composes the config `conf/<config_name>.yaml` from the command line, runs the task with it, and exits.

    Exit codes: 0, 1 for an internal failure (and a sweep with a failed job), 2 for a mistake of the user's,
    130 and 143 for Ctrl-C and SIGTERM.
    """
    global _full_error, _typed
    _full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise what it would print at length
    logging.captureWarnings(True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    codes: list[int] = []
    try:
        if torchrun.launched() and (config_name != "train" or {"--multirun", "-m"} & set(sys.argv)):
            raise UserError("torchrun is for one run of train_segmentation.py: start this without it")
        _typed = sys.argv[1:]
        sys.argv[1:] = command_line.words(sys.argv[1:], config_name)
        decorate = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
        decorate(_guarded(task, config_name, codes))()
    except BrokenPipeError:  # `--help | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # the task's own are dealt with in `_guarded`: what comes here is from composing
        _discard_folder()
        _refuse(error)
    sys.exit(max(codes, default=0))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config in plain containers."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


def build(node: DictConfig | dict[str, Any], path: str, **supplied: Any) -> Any:
    """What a node's `_target_` makes of its arguments and the supplied ones.

    Args:
        path: the node's key, for messages.

    Raises:
        UserError: the target refuses an argument.
    """
    try:
        made = instantiate(node, _convert_="all", **supplied)
        return made() if isinstance(made, functools.partial) else made
    except (InstantiationException, ValueError, TypeError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ValueError | TypeError):
            # In one line; albumentations passes on pydantic's several, of which the last is an address.
            lines = [line.strip() for line in str(cause).splitlines() if "For further information" not in line]
            inner = re.search(r"call to target '[\w.]*?(\w+)'", str(error))
            where = f"{path}: {inner[1]}" if inner else path
            raise UserError(f"{where}: {' '.join(lines)}") from error
        raise


def build_dataset(node: DictConfig | dict[str, Any], split: str) -> Any:
    """The data set of a `data` node, without the keys that are the loader's."""
    values = plain(node) if isinstance(node, DictConfig) else node
    own = {key: value for key, value in values.items() if key not in LOADER_KEYS}
    return build(own, "data", split=split)


def dataset_class(node: dict[str, Any]) -> Any:
    """The class of the data set that a `data` node of conf/ names."""
    return get_class(node["_target_"])


def advice(node: Mapping[str, Any]) -> str:
    """The command that finds all that is wrong with the data of a `data` node."""
    name = str(node["_target_"]).split(".")[1]
    usual = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text()) if name in options("data") else {}
    usual["root"] = str(Path(os.environ.get("SEGMENTATION_DATA", "datasets"), name))
    keys = ("root", "labels", "train_split", "val_split", "classes", "coarse")
    own = [f"data.{key}={node[key]}" for key in keys if key in node and node[key] != usual.get(key)]
    words = " ".join(shlex.quote(word) for word in own)
    return f"all that is wrong with the data: {f'python -m tools.check_data data={name} {words}'.rstrip()}"


def chosen(group: str) -> str | None:
    """The option of a group."""
    return HydraConfig.get().runtime.choices.get(group)


def output_folder() -> Path:
    """The folder of the run that is under way, relative to the working directory where it is below it."""
    folder, here = Path(HydraConfig.get().runtime.output_dir), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def overrides() -> list[str]:
    """What was typed on the command line for this run, one of a sweep's combinations included."""
    as_typed = {word.partition("=")[0]: word for word in _typed}
    words = [word.removeprefix("++") for word in HydraConfig.get().overrides.task]
    # Hydra got paths in quotes.
    return [as_typed.get(key, w) if (key := w.partition("=")[0]) in command_line.PATH_KEYS else w for w in words]


def started(resume_with: str | None) -> None:
    """Notes that a run has begun, and the command to continue it with, which is told whatever ends the run."""
    global _has_started, _resume_with
    _has_started, _resume_with = True, resume_with


class RunFolderCallback(Callback):
    """Checks the config, then makes the folder of the run or sweep; neither happens for --help or --cfg."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        try:
            if torchrun.rank() == 0:
                _check(config, "train")
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
        try:
            folder = _make_folder(config, "hydra.sweep.dir")
        except UserError as error:
            _refuse(error)
        config.hydra.sweep.dir = folder
        # Jobs are composed anew, from these.
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={command_line.quote(folder)}")


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
    return _root_.get("name") or f"{choices.get('model')}_{choices.get('data')}"


def _first_start(*, _root_: DictConfig) -> str | None:
    """`.hydra`, where Hydra keeps its record of a run; None where a resumed run has one."""
    folder = OmegaConf.select(_root_, "hydra.runtime.output_dir") or ""
    return None if Path(folder, ".hydra", "config.yaml").exists() else ".hydra"


OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
OmegaConf.register_new_resolver("first_start", _first_start, replace=True)


def _check(cfg: DictConfig, config_name: str) -> None:
    """Checks everything but Hydra's own node."""
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    settings = cfg.hydra if "hydra" in cfg else HydraConfig.get()
    typed = {word.partition("=")[0].lstrip("+~") for word in settings.overrides.task}
    origin = Origin(dict(settings.runtime.choices), frozenset(typed - settings.runtime.choices.keys()))
    try:
        config = plain(job)
    except OmegaConfBaseException as error:
        if config_name == "train":  # what cannot be resolved may refer to a key of the loader that is wrong itself
            check_loader(cast(dict[str, Any], OmegaConf.to_container(job.data)), origin)
        raise UserError(explain(error)) from error
    CHECKS[config_name](config, origin)
    if config.get("resume"):
        run = Path(config["resume"]).expanduser()
        changed = differences(yaml.safe_load((run / "config.yaml").read_text()), config)
        if changed:
            raise UserError(f"resume={config['resume']}: a run goes on with its own config, but {'; '.join(changed)}")


def _guarded(task: Task, config_name: str, codes: list[int]) -> Task:
    """The task, with what ends it turned into a message and an exit code; one job of a sweep ends only itself."""

    @functools.wraps(task)
    def run(cfg: DictConfig) -> Any:
        global _has_started, _resume_with
        _has_started, _resume_with = False, None
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            _check(cfg, config_name)
            return task(cfg)
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
        except UserError as error:
            if torchrun.rank() > 0 and not _has_started:
                _wait_for_the_first()
            way_on = _way_on() if error.goes_on else ""
            log.error("%s%s%s", error, _doctor(error, cfg), way_on, exc_info=_full_error)
            codes.append(1 if sweep else 2)
            failure = str(error)
        except LostProcess as error:
            if _has_started:  # or it was a mistake, which the first process has told
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
        if codes[-1] == 2:
            _discard_folder()
        elif _made is not None:
            with suppress(UserError):
                RunFolder(output_folder()).update_summary(status="failed", error=failure, overrides=overrides())
        return None

    return run


def _way_on() -> str:
    """How to continue the run, if something of it is there to continue."""
    last = RunFolder(output_folder()).last
    if _resume_with is None or not last.exists():
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
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _wait_for_the_first() -> None:
    """Lets the first process, which has made the same mistake, tell it; torchrun then ends this one."""
    time.sleep(30)
    sys.exit(2)


def _make_folder(config: DictConfig, key: str) -> str:
    """Makes the folder that a key names, which nothing else may have made; returns its path."""
    global _made
    while True:
        folder = Path(OmegaConf.select(config, key))
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
            raise UserError(f"{folder} cannot be made: {error.strerror}; say hydra.run.dir=<a folder>") from error
        else:
            _made = folder.resolve()
            return str(folder)


def _discard_folder() -> None:
    """Removes the folder that this process made, unless something in it is worth keeping."""
    if _made is not None and not any(_made.rglob("summary.json")):
        shutil.rmtree(_made, ignore_errors=True)
