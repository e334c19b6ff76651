"""The start of a run or sweep: check its config and make its folder."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cli.endings import as_resource_error
from cli.explain import explain
from config.checks import check_config, differences
from config.current_run import typed_words
from config.nodes import plain
from config.overrides import key_of
from config.quoting import quote
from config.schema import InputSize
from config.validation import Origin, check_keys
from runs.session import session
from sweeps import sweep
from utils import torchrun
from utils.config_groups import CONF
from utils.errors import UserError
from utils.find_run import SWEEP_RECORD
from utils.interruption import held_back, raise_between_imports
from utils.paths import user_path
from utils.safe_reading import read_yaml
from utils.text import cleaned
from utils.value_types import folder_name

SAVE_SECONDS = 60.0
"""Time for the jobs of a sweep to save their state when the sweep is terminated."""
REPORT_SECONDS = 15.0
"""Time for the first process to report a mistake that all processes make."""
LONGEST_LINE = 1000
"""Characters in a line of a message, which may repeat the command line."""


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Exit on an exception, which Hydra would turn into a warning."""
    try:
        yield
    except Exception as error:
        if isinstance(as_resource_error(error), UserError):
            refuse(error)
        traceback.print_exc()
        sys.exit(1)


class RunFolderCallback(Callback):
    """Check the config and make the folder of the run or sweep. Hydra skips both for --help and --cfg."""

    @_exit_on_error()
    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        if torchrun.rank() == 0:
            check(config, "train")
        if torchrun.launched():
            _join_processes()
        if config.resume is None and torchrun.rank() == 0:
            config.hydra.run.dir = _make_folder(config, "hydra.run.dir")
        if torchrun.launched():
            _share_folder(config)

    @_exit_on_error()
    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        session.jobs_elsewhere = not str(config.hydra.launcher._target_).endswith(".BasicLauncher")
        # Launchers may start jobs as new programs.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CONF.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        if config.get("sweep") is not None:  # resumed, in the folder that the command line names
            session.sweep = Path(config.hydra.sweep.dir)
            sweep.clear_refused(session.sweep)
        else:
            folder = _make_folder(config, "hydra.sweep.dir")
            session.sweep = Path(folder)
            config.hydra.sweep.dir = folder
            OmegaConf.save(config, session.sweep / SWEEP_RECORD)  # of the sweepers only the basic one does
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quote(folder)}")  # jobs are composed from these
        if session.jobs_elsewhere:
            raise_between_imports(session.clean_up, _terminate_jobs)


def _terminate_jobs() -> None:
    """Terminate the jobs of a sweep in other processes, and wait until they have saved their state."""
    if session.sweep is None:
        return
    import psutil

    jobs, deadline = sweep.running(session.sweep), time.monotonic() + SAVE_SECONDS
    for child in psutil.Process().children():
        try:
            child.terminate()
        except psutil.Error:
            continue
    # Do not wait for the processes: a launcher's may start the next job until this one ends.
    while jobs & sweep.running(session.sweep) and time.monotonic() < deadline:
        time.sleep(0.1)


def check(cfg: DictConfig, config_name: str) -> None:
    """Check all of a config except Hydra's node.

    Raises:
        UserError: names the first mistake and where it is.
    """
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    settings = cfg.hydra if "hydra" in cfg else HydraConfig.get()
    choices = dict(settings.runtime.choices)
    typed = set(map(key_of, typed_words(settings)))
    origin = Origin(choices, frozenset(typed - choices.keys()), frozenset(typed & choices.keys()))
    for group, choice in choices.items():
        if ".." in str(choice).replace("\\", "/").split("/"):  # it becomes part of the name of the run folder
            raise UserError(f"{group}={choice}: pass an option in conf/{group}/")
    try:
        config = plain(job)
    except OmegaConfBaseException as error:
        # Such as ${data.image_size[1]} of a size that is wrong itself.
        values = cast(dict[str, Any], OmegaConf.to_container(job, resolve=False))
        if "augmentation" in values and not str(error.full_key).startswith("data."):
            size = values["data"].get("image_size")
            if "${" not in str(size):
                check_keys(InputSize, {"image_size": size}, origin, "data.")
        raise UserError(explain(error)) from error
    resumed = config.get("resume")
    if isinstance(resumed, str):  # first, since what has changed may contradict the rest of the run's config
        changed = differences(read_yaml(user_path(resumed, "resume") / "config.yaml"), config)
        if changed:
            raise UserError(
                f"resume={resumed}: a resumed run keeps its config, but {'; '.join(changed)}\n"
                "for a new run with other values, pass like= instead of resume="
            )
    check_config(config_name, config, origin)


def refuse(error: Exception) -> None:
    """Report a mistake of the user and exit. Of several processes on a machine the first one reports it."""
    leave_report_to_first_process()
    if session.full_error:
        traceback.print_exception(error)
    mistake = as_resource_error(error)
    message = str(mistake) if isinstance(mistake, UserError) else explain(error)
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in message.split("\n")]
    print("error: " + cleaned("\n".join(lines)), file=sys.stderr)
    sys.exit(2)


def leave_report_to_first_process() -> None:
    """Exit if the first process on this machine has also ended, which means that it reports the same mistake."""
    if torchrun.local_rank() > 0 and torchrun.first_process_ended(REPORT_SECONDS):
        sys.exit(2)


def _join_processes() -> None:
    """Join the other processes of torchrun. Until all have joined, it must be able to terminate them."""
    from engine import distributed

    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    distributed.join()
    if distributed.rank() == 0:  # the others have nothing to clean up
        signal.signal(signal.SIGTERM, handler)


def _share_folder(config: DictConfig) -> None:
    """Use the run folder of the first process in all processes. The others log errors only."""
    from engine import distributed

    config.hydra.run.dir = distributed.from_first(config.hydra.run.dir)
    if distributed.rank() > 0:
        config.hydra.output_subdir = None
        config.hydra.job_logging.root.level = "ERROR"


def _make_folder(config: DictConfig, key: str) -> str:
    """Make the folder that a key names, which must be new, and return its path."""
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
            # The name holds the time in microseconds: resolve it again.
            time.sleep(1e-5)
            OmegaConf.clear_cache(config)
            if Path(OmegaConf.select(config, key)) == folder or not folder.is_dir():
                raise UserError(f"{folder} exists already, or a file of that name is in the way") from None
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}; pass {key}=<a folder>") from error
        else:
            return str(folder)


def _run_name(*, _root_: DictConfig) -> str:
    """Return the end of the name of a run folder."""
    choices = _root_.hydra.runtime.choices
    return _root_.get("name") or f"{choices.get('model')}_{choices.get('data')}".replace("/", "_")


def _sweep_name(*, _root_: DictConfig) -> str:
    """Return the end of the name of a sweep folder, with the `name` of its jobs if they share a valid one."""
    name = None if OmegaConf.is_interpolation(_root_, "name") else _root_.get("name")
    with suppress(ValueError):
        return "sweep" if name is None else f"{folder_name(str(name))}_sweep"
    return "sweep"  # the jobs report what is wrong


def _first_start(*, _root_: DictConfig) -> str | None:
    """Return `.hydra`, where Hydra records a run, or None if a resumed run has it already."""
    folder = OmegaConf.select(_root_, "hydra.runtime.output_dir") or ""
    return None if Path(folder, ".hydra", "config.yaml").exists() else ".hydra"


OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
OmegaConf.register_new_resolver("sweep_name", _sweep_name, replace=True)
OmegaConf.register_new_resolver("first_start", _first_start, replace=True)
