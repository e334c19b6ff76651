"""Open a run folder, to begin a run, to resume it, or to find that it is finished."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer

from config.current_run import in_sweep, output_folder
from data.fingerprint import fingerprint
from data.labels import LabelSet
from engine import distributed
from engine.checkpoint import load_checkpoint
from engine.training_state import check_fit, check_training_state
from runs.data_building import Splits
from sweeps.sweep import DONE, best_value
from utils import torchrun
from utils.errors import Occupied, UserError
from utils.paths import is_there
from utils.run_folder import RunFolder
from utils.safe_reading import read_yaml
from utils.text import plural

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenRun:
    """A run folder and what is in it.

    Attributes:
        checkpoint: the contents of `last.pt`, to resume from; None for a new run.
        finished_with: best value of the monitored metric if nothing is left to do; otherwise None.
    """

    folder: RunFolder
    checkpoint: dict[str, Any] | None = None
    finished_with: float | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done so far."""
        return 0 if self.checkpoint is None else int(self.checkpoint["training"]["progress"]["step"])


def open_run(cfg: DictConfig) -> OpenRun:
    """Open the folder of this run. A job of a sweep resumes if its folder holds a checkpoint.

    Raises:
        UserError: `last.pt`, `best.pt` or the summary is damaged or missing, or trainer.epochs is too small.
    """
    folder = RunFolder(output_folder())
    status = folder.read_summary().get("status")
    if in_sweep() and status in DONE:
        log.info("%s is %s", folder.path, status)
        return OpenRun(folder, finished_with=best_value(folder, cfg.trainer.monitor))
    with _skip_damaged_job():
        checkpoint = _checkpoint_to_resume(cfg, folder)
    if checkpoint is None or not _is_finished(cfg, folder, checkpoint):
        return OpenRun(folder, checkpoint)
    log.info("%s is finished: %s. Raise trainer.epochs to train on.", folder.path, plural(checkpoint["epoch"], "epoch"))
    return OpenRun(folder, checkpoint, finished_with=float(checkpoint["training"]["progress"]["best"]))


def threads_of(cfg: DictConfig, run: OpenRun) -> Any:
    """Return `trainer.threads`; for a resumed run with `auto`, the number that the run began with.

    Another number would change rounding errors. If the number of processes has changed, which does so too, threads are
    chosen again: otherwise each of several processes would take as many as a single one had.
    """
    chosen = cfg.trainer.threads
    if run.checkpoint is None or chosen != "auto":
        return chosen
    if len(run.checkpoint["training"]["processes"]) != distributed.processes():
        return chosen
    return run.folder.usable_threads() or chosen


def threads_to_record(run: OpenRun, threads: int) -> int | None:
    """Return the number of threads for summary.json; None if the run has also trained with another number."""
    if run.checkpoint is None:
        return threads
    before = (run.folder.read_summary().get("environment") or {}).get("threads", threads)
    return threads if before == threads else None


def check_resumable(
    run: OpenRun, model: nn.Module, optimizer: Optimizer, metric_columns: list[str], keeps_average: bool
) -> None:
    """Check that the checkpoint and metrics.csv of a run fit the objects built from its config.

    Nothing is restored yet, and nothing is written into the folder.

    Raises:
        UserError: names the first value that does not fit.
    """
    assert run.checkpoint is not None
    terms = sum(column.startswith("train/") for column in metric_columns) - 1  # without train/loss
    with _skip_damaged_job():
        check_fit(run.checkpoint["training"], model, terms, optimizer, keeps_average, run.folder.last)
        run.folder.read_rows(columns=metric_columns)


def check_same_samples(cfg: DictConfig, run: OpenRun, splits: Splits) -> None:
    """Check that a run finds the samples that it began with; if its data have moved, also their classes and sizes.

    Folds, and the parts of a folder without lists, depend on the files that are there.

    Raises:
        UserError: it does not.
    """
    assert run.checkpoint is not None
    before = read_yaml(run.folder.path / "config.yaml")["data"]
    now = {key: cfg.data.get(key) for key in ("root", "labels") if cfg.data.get(key) != before.get(key)}
    place = ", ".join(f"data.{key}={value}" for key, value in now.items()) or f"data.root={before.get('root')}"
    remedy = "the run needs the data that it began with"
    labels, found = LabelSet.from_dict(run.checkpoint["labels"]), splits.validation_set.labels
    if labels.to_dict() != found.to_dict():
        raise UserError(f"{place}: its classes, their colours or ids differ; {remedy}")
    recorded = run.folder.read_summary().get("samples")
    if recorded is None:  # summary.json was deleted
        if now:
            log.warning("%s: summary.json has no record of the samples to compare with", place)
        return
    for split, samples in (("train", splits.train), ("validation", splits.validation)):
        was, there = recorded[split], fingerprint(samples)
        if was["samples"] != there["samples"]:
            counts = f"{plural(there['samples'], f'{split} sample')}, and {was['samples']} when the run began"
            raise UserError(f"{place}: {counts}; {remedy}")
        if was["names"] != there["names"]:
            raise UserError(f"{place}: the {split} split has other samples than when the run began; {remedy}")
        if now and was["sha256"] != there["sha256"]:
            raise UserError(f"{place}: names or sizes of the files of the {split} samples differ; {remedy}")
        if was["sha256"] != there["sha256"]:  # a damaged file may have been replaced
            log.warning("%s: the files of the %s samples have other sizes than when the run began", place, split)


def resume_command(run: RunFolder, processes: int) -> str:
    """Return the command that resumes a run with the same number of processes."""
    start = "python" if processes == 1 else f"torchrun --standalone --nproc_per_node={processes}"
    if processes > torchrun.local_processes():  # on several machines
        start = "torchrun <as before>"
    return f"{start} train_segmentation.py {shlex.quote(f'resume={run.path}')}"


def _checkpoint_to_resume(cfg: DictConfig, run: RunFolder) -> dict[str, Any] | None:
    """Read and check `last.pt` of the run that `resume` names, or of this job of a sweep; None for a new run."""
    if cfg.resume is None and not (in_sweep() and is_there(run.last)):
        return None
    if not is_there(run.last):
        raise UserError(f"resume={cfg.resume}: there is no checkpoints/last.pt in it; start the run again")
    run.read_summary()
    checkpoint = load_checkpoint(run.last)
    check_training_state(checkpoint, run.last)
    if checkpoint["training"]["progress"]["best_epoch"] > 0:
        load_checkpoint(run.best)  # needed for the report at the end
    return checkpoint


def _is_finished(cfg: DictConfig, run: RunFolder, checkpoint: dict[str, Any]) -> bool:
    """Whether all epochs are done and the figures are drawn."""
    done = checkpoint["epoch"]
    if done > cfg.trainer.epochs and in_sweep() and run.read_summary().get("resumed"):
        return True  # the job was continued on its own
    if done > cfg.trainer.epochs:
        raise UserError(
            f"trainer.epochs={cfg.trainer.epochs}: {run.path} has trained for {plural(done, 'epoch')} already"
        )
    return done == cfg.trainer.epochs and run.read_summary().get("status") == "finished"


@contextmanager
def _skip_damaged_job() -> Iterator[None]:
    """Refuse a job of a sweep whose folder is damaged, without changing the folder."""
    try:
        yield
    except UserError as error:
        if in_sweep():
            raise Occupied(f"{error}\nor delete the folder of the job to train it again") from error
        raise
