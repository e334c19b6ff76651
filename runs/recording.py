"""Record a training besides its metrics and checkpoints: its config, facts about it, and how it ended."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from config.current_run import in_sweep, options_chosen, overrides
from config.nodes import plain
from data.fingerprint import fingerprint
from engine import distributed
from engine.normalization import IMAGENET, normalization_of
from engine.pictures import Pictures
from engine.run_record import RunRecord
from runs.building import Training
from runs.resuming import OpenRun, resume_command, threads_to_record
from runs.session import note_training
from utils.environment import code_diff, environment
from utils.find_run import mark_latest
from utils.safe_reading import read_yaml
from utils.text import plural

log = logging.getLogger(__name__)


@contextmanager
def recording(cfg: DictConfig, run: OpenRun, training: Training) -> Iterator[RunRecord]:
    """Record a training in its run folder and logger, and how it ends in summary.json.

    Only the first process writes. The others get a record that does nothing.
    """
    config = plain(cfg) | {"resume": None, "sweep": None, "like": None}
    facts = _facts(cfg, config, run, training)
    record = RunRecord(
        run.folder if distributed.rank() == 0 else None,
        training.logger,
        training.metric_columns,
        description={
            "config": config,
            "image_size": list(cfg.data.image_size),
            "code": facts["environment"]["git_commit"],
        },
        pictures=_pictures(training),
        is_pruned=_pruning(cfg, run),
    )
    _announce(cfg, run, training)
    if record.run is None:
        note_training(resume_command=None)
        with run.folder.recording_failure(distributed.rank()):
            yield record
        return
    # A sweep prints its own command at the end.
    note_training(resume_command=None if in_sweep() else resume_command(run.folder, distributed.processes()))
    run.folder.write_config(config)
    if run.checkpoint is None and facts["environment"]["git_dirty"]:
        run.folder.write_code_diff(code_diff())
    mark_latest(run.folder.path.parent if in_sweep() else run.folder.path)
    try:
        with run.folder.recording(**facts):
            chosen = run.folder.read_summary().get("options", {})
            path = run.folder.path
            title = str(path.relative_to("experiments")) if path.is_relative_to("experiments") else path.name
            training.logger.begin(title, cfg.notes, config, chosen)
            yield record
    finally:
        training.logger.close(run.folder.read_summary().get("status", "failed"))
    if not in_sweep():
        word = shlex.quote(f"checkpoint={run.folder.path}")
        log.info("masks for your own photos: python infer.py %s input=<photo or folder>", word)
        if cfg.data.get("_target_") == "data.synthetic.Synthetic":
            log.info("for photos of real streets, with a network of weights/: python infer.py input=<photo or folder>")


def _facts(cfg: DictConfig, config: dict[str, Any], run: OpenRun, training: Training) -> dict[str, Any]:
    """Return the values of summary.json that are known before the first step."""
    splits, found = training.splits, environment(training.trainer.device)
    facts = {
        "name": cfg.name,
        "notes": cfg.notes,
        "model": config["model"]["_target_"],
        "data": config["data"]["_target_"],
        "parameters": training.parameters,
        "macs": training.macs,
        "seed": cfg.seed,
        "processes": distributed.processes(),
        "environment": found | {"threads": threads_to_record(run, found["threads"])},
        "samples": {"train": fingerprint(splits.train), "validation": fingerprint(splits.validation)},
    }
    if run.checkpoint is not None:
        before = run.folder.read_summary()
        continuation = {
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "after_epoch": run.checkpoint["epoch"],
            "epochs": cfg.trainer.epochs,
            "words": overrides(),
        }
        return facts | {
            "resumed": [*before.get("resumed", []), overrides()],
            "continuations": [*before.get("continuations", []), continuation],
        }
    return facts | {"overrides": overrides(), "options": options_chosen()}


def _announce(cfg: DictConfig, run: OpenRun, training: Training) -> None:
    """Log what is about to be trained."""
    model, splits = training.components.model, training.splits
    log.info("run folder: %s", run.folder.path)
    log.info(
        "%s, %s parameters, %d training and %d validation samples, %s",
        type(model).__name__,
        f"{training.parameters:,}",
        len(splits.train),
        len(splits.validation),
        training.trainer.device,
    )
    normalization = normalization_of(model)
    if normalization != IMAGENET:
        mean, std = (tuple(float(f"{v:.4g}") for v in values) for values in (normalization.mean, normalization.std))
        log.info("images are normalised with mean %s, std %s", mean, std)
    if run.checkpoint is not None:
        log.info("resumed %s", resumed_at(run.checkpoint, cfg.trainer.epochs))
        before = read_yaml(run.folder.path / "config.yaml")["trainer"]["epochs"]
        if before != cfg.trainer.epochs:
            log.info("%s", _schedule_ahead(before, cfg.trainer.epochs, run, training))


def resumed_at(checkpoint: dict[str, Any], epochs: int) -> str:
    """Return where in the training a checkpoint was written."""
    done, step = checkpoint["epoch"], checkpoint["training"]["progress"]["step"]
    if checkpoint["training"]["progress"]["batch"] > 0:
        return f"in epoch {done + 1} of {epochs}, after step {step}"
    return f"after epoch {done} of {epochs}, step {step}"


def _schedule_ahead(before: int, epochs: int, run: OpenRun, training: Training) -> str:
    """Describe how the learning rate continues if the number of epochs has changed."""
    assert run.checkpoint is not None
    last = run.checkpoint["training"]["optimizer"]["param_groups"][0].get("lr")
    scheduler = training.components.scheduler
    rates = [
        scheduler.base_lrs[0] * scheduler.lr_lambdas[0](step)
        for step in (run.step, training.trainer.steps_per_epoch(training.train_loader) * epochs - 1)
    ]
    was = f", after {last:.2g}" if isinstance(last, int | float) else ""
    return (
        f"trainer.epochs was {before}: the schedule is recomputed over {plural(epochs, 'epoch')}, so the learning rate"
        f" continues at {rates[0]:.2g}{was}, and ends at {rates[1]:.2g}"
    )


def _pictures(training: Training) -> Pictures | None:
    """Return the pictures of predictions for the logger; None if the logger takes none."""
    if not training.logger.pictures:
        return None
    trainer = training.trainer
    return Pictures(
        training.splits.validation,
        trainer.device,
        trainer.autocast,
        trainer.options.channels_last,
        fit=training.validation_loader.fit,
    )


def _pruning(cfg: DictConfig, run: OpenRun) -> Any:
    """Return the function that lets a search prune this run; None if the run is not part of one that prunes."""
    options = plain(HydraConfig.get().sweeper) if in_sweep() else {}
    if options.get("pruner", "none") == "none":
        return None
    from sweeps.search import pruning

    return pruning(options, run.folder.path, str(cfg.trainer.monitor), cfg.trainer.epochs)
