"""Trains a segmentation network: compose, build, fit.

python train_segmentation.py model=enet data=camvid data.root=<where CamVid is>
"""

from __future__ import annotations

if __name__ == "__main__":  # first: exceptions that signals raise may be lost in the imports below
    from utils.interruption import end_at_once

    end_at_once()

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cli.building import build_loss, build_optimizer, build_scheduler, loaders, new_model, samples_of
from utils import torchrun
from utils.config import build, in_sweep, options_chosen, output_folder, plain
from utils.errors import Occupied, UserError
from utils.launch import launch, overrides
from utils.paths import is_there
from utils.session import started
from utils.sweep import best_value

log = logging.getLogger("train_segmentation")


def train(cfg: DictConfig) -> float:
    """Builds what the config names and trains it; returns the best value of the monitored metric."""
    # Slow to import, so only here, where the config is known to be right.
    from engine import distributed
    from engine.checkpoint import build_model
    from engine.normalization import IMAGENET, normalization_of
    from engine.pictures import Pictures
    from engine.randomness import seed_everything
    from engine.report import report
    from engine.size import multiply_adds
    from utils.environment import environment
    from utils.loggers import Logger, NoLogger
    from utils.run_folder import RunFolder

    run = RunFolder(output_folder())
    if in_sweep() and run.read_summary().get("status") == "finished":
        log.info("%s is finished", run.path)
        return best_value(run, cfg.trainer.monitor)
    with damage_left_alone():
        resume_from = checkpoint_to_resume(cfg, run)
    if resume_from is not None and is_finished(cfg, run, resume_from):
        log.info("%s is finished: %d epochs. Raise trainer.epochs to train on.", run.path, resume_from["epoch"])
        return float(resume_from["training"]["progress"]["best"])

    first, first_step = distributed.rank() == 0, 0
    if resume_from is not None:
        first_step = resume_from["training"]["progress"]["step"]
    logger: Logger = NoLogger()
    if first:
        logger = build(cfg.logger, "logger", folder=str(run.path), first_step=first_step)
    seed_everything(cfg.seed)
    trainer = build(cfg.trainer, "trainer")
    validation_set, train_samples, validation_samples = distributed.once_a_machine(lambda: samples_of(cfg))
    labels = validation_set.labels
    train_batches, validation_batches = loaders(cfg, train_samples, validation_samples, trainer.device)
    model = new_model(cfg, len(labels)) if resume_from is None else build_model(resume_from)
    macs = multiply_adds(model, train_batches.image_size)
    model = trainer.prepare(model)
    optimizer = build_optimizer(cfg, trainer.parameters_of(model))
    if resume_from is not None:
        with damage_left_alone():  # before anything is written into its folder, train.log included
            check_what_goes_on(cfg, run, resume_from, trainer, model, optimizer, labels)
    loss = trainer.prepare(build_loss(cfg, train_samples))
    trainer.metric_columns(loss, labels)  # refuses a trainer.monitor that is none of them
    steps = trainer.steps_per_epoch(train_batches)
    scheduler = build_scheduler(cfg, optimizer, steps * trainer.epochs, steps)
    if distributed.rank() > 0:
        seed_everything((cfg.seed + distributed.rank()) % 2**32)  # so that dropout differs
    parameters = sum(p.numel() for p in model.parameters())
    normalization = normalization_of(model)
    log.info("run folder: %s", run.path)
    log.info(
        "%s, %s parameters, %d training and %d validation samples, %s",
        type(model).__name__,
        f"{parameters:,}",
        len(train_samples),
        len(validation_samples),
        trainer.device,
    )
    if normalization != IMAGENET:
        log.info("images are normalised as the weights want: mean %s, std %s", normalization.mean, normalization.std)

    config = plain(cfg) | {"resume": None, "sweep": None}
    facts = {
        "name": cfg.name,
        "notes": cfg.notes,
        "model": config["model"]["_target_"],
        "data": config["data"]["_target_"],
        "parameters": parameters,
        "macs": macs,
        "seed": cfg.seed,
        "processes": distributed.processes(),
        "environment": environment(trainer.device),
    }
    description = {
        "config": config,
        "image_size": list(cfg.data.image_size),
        "code": facts["environment"]["git_commit"],
    }
    if resume_from is None:
        facts["overrides"] = overrides()
        facts["options"] = options_chosen()
    else:
        facts["resumed"] = [*run.read_summary().get("resumed", []), overrides()]
        log.info("resumed after epoch %d, step %d, of %d epochs", resume_from["epoch"], first_step, cfg.trainer.epochs)

    pictures = None
    if logger.pictures:
        pictures = Pictures(
            validation_samples, trainer.device, autocast=trainer.autocast, channels_last=trainer.channels_last
        )

    def fit(folder: RunFolder | None) -> float:
        with distributed.losses_named():
            progress = trainer.fit(
                *(model, loss, optimizer, scheduler, train_batches, validation_batches, labels, folder, logger),
                description=description,
                resume_from=resume_from,
                pictures=pictures,
            )
        distributed.leave()
        return progress.best

    # A sweep says itself how it goes on.
    started(resume_with=resume_command(run, distributed.processes()) if first and not in_sweep() else None)
    if not first:
        with run.recording_failure(distributed.rank()):
            return fit(None)
    run.write_config(config)
    try:
        with run.recording(**facts):
            logger.begin(run_title(run.path), cfg.notes, config, run.read_summary().get("options", {}))
            best = fit(run)
            report(run, validation_set, len(validation_samples), trainer.device, cfg.trainer.monitor)
    finally:
        logger.close(run.read_summary().get("status", "failed"))
    if not in_sweep():
        log.info("masks for your own photos: python infer.py checkpoint=%s input=<photo or folder>", run.path)
    return best


def checkpoint_to_resume(cfg: DictConfig, run: Any) -> dict[str, Any] | None:
    """The `last.pt` of the run that `resume` names, or of this job of a sweep, where it was begun before.

    Raises:
        UserError: a checkpoint or the summary of the run is damaged or missing.
    """
    from engine.checkpoint import load_checkpoint
    from engine.training_state import check_training_state

    if cfg.resume is None and not (in_sweep() and is_there(run.last)):
        return None
    if not is_there(run.last):
        raise UserError(f"resume={cfg.resume}: there is no checkpoints/last.pt in it; start the run anew")
    run.read_summary()
    checkpoint = load_checkpoint(run.last)
    check_training_state(checkpoint, run.last)
    if checkpoint["training"]["progress"]["best_epoch"] > 0:
        load_checkpoint(run.best)  # of which the report is made at the end
    return checkpoint


def check_what_goes_on(
    cfg: DictConfig, run: Any, checkpoint: dict[str, Any], trainer: Any, model: Any, optimizer: Any, labels: Any
) -> None:
    """Check that the state of a training, and metrics.csv, fit what the config builds.

    Raises:
        UserError: names the first value that does not.
    """
    from engine.training_state import check_fit

    unweighted = {"class_weights": None} if "class_weights" in cfg.loss else {}  # to count pixels takes time
    loss = build(cfg.loss, "loss", **unweighted)
    has_average = trainer.ema_decay is not None
    check_fit(checkpoint["training"], model, len(loss.names), optimizer, has_average, run.last)
    run.read_rows(columns=trainer.metric_columns(loss, labels))


@contextmanager
def damage_left_alone() -> Iterator[None]:
    """Turn away a job of a sweep whose folder is damaged, so that the folder stays as it is."""
    try:
        yield
    except UserError as error:
        if in_sweep():
            raise Occupied(f"{error}\nor delete the folder of the job to train it anew") from error
        raise


def is_finished(cfg: DictConfig, run: Any, checkpoint: dict[str, Any]) -> bool:
    """Whether nothing is left to do for a run, not even its figures."""
    done = checkpoint["epoch"]
    if done > cfg.trainer.epochs:
        raise UserError(f"trainer.epochs={cfg.trainer.epochs}: {run.path} has trained for {done} epochs already")
    return done == cfg.trainer.epochs and run.read_summary().get("status") == "finished"


def resume_command(run: Any, processes: int) -> str:
    """What continues a run, with as many processes."""
    start = "python" if processes == 1 else f"torchrun --standalone --nproc_per_node={processes}"
    if processes > torchrun.local_processes():  # on several machines
        start = "torchrun <as before>"
    return f"{start} train_segmentation.py {shlex.quote(f'resume={run.path}')}"


def run_title(folder: Path) -> str:
    """What a logger calls a run: its folder, a sweep's with the number of the job."""
    return str(folder.relative_to("experiments")) if folder.is_relative_to("experiments") else folder.name


if __name__ == "__main__":
    launch(train, "train")
