"""Suggest a learning rate: train briefly while it rises, and find where the loss falls most steeply.

python -m tools.find_lr model=enet data=camvid data.root=<path>
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from cli.launch import launch
from config.current_run import chosen
from config.nodes import build, build_dataset, training_split
from utils.errors import UserError
from utils.files import make_writable
from utils.paths import png_path

if TYPE_CHECKING:
    from data.accumulation import Window
    from data.loading import TrainingLoader
    from engine.training_step import TrainingStep

log = logging.getLogger("find_lr")


def find(cfg: DictConfig) -> None:
    """Print the suggested and the configured rate, and plot the losses over the rates."""
    path = png_path(cfg.output, "output")

    # Slow to import, so only here, where the config is known to be right.
    from data.workers import explain_dead_workers
    from engine.lr_range import rising_rates
    from engine.out_of_memory import explain_out_of_memory
    from engine.randomness import seed_everything
    from engine.schedules import constant
    from engine.training_step import Components, TrainingStep
    from runs.building import build_loss, build_optimizer, new_model
    from runs.data_building import input_samples, training_loader

    trainer = build(cfg.trainer, "trainer")
    split = training_split(cfg.data)
    samples = input_samples(cfg, build_dataset(cfg.data, split), split, masks=True)
    make_writable(path.parent)
    if trainer.options.freeze_encoder_epochs:
        log.info(
            "trainer.freeze_encoder_epochs has no effect: the whole network is trained, as after these epochs;"
            " model.freeze_encoder=true suggests a rate for the first ones"
        )
    rates = rising_rates(cfg.min_lr, cfg.max_lr, cfg.steps)
    runs: list[list[float]] = []
    for number in range(cfg.repeats):
        own = DictConfig({**cfg, "seed": (cfg.seed + number) % 2**32})
        seed_everything(own.seed)
        batches = training_loader(own, samples, trainer.device)
        model = trainer.prepare(new_model(own, samples))
        if not runs:  # counts pixels, after whatever is wrong with the model has been reported
            loss = trainer.prepare(build_loss(cfg, samples))
        optimizer = build_optimizer(own, model, trainer.parameters_of(model))
        configured = optimizer.param_groups[0]["lr"]
        model.train()
        # The rates are set below, even if the gradient scaler skips a step.
        scheduler = constant(optimizer, cfg.steps, cfg.steps)
        step = TrainingStep(Components(model, loss, optimizer, scheduler), trainer.options, trainer.device)
        size, accumulation = batches.image_size, trainer.options.accumulation_steps
        with (
            explain_out_of_memory(cfg.data.batch_size, size, trainer.device, accumulation),
            explain_dead_workers([batches.watched]),
        ):
            runs.append(losses_at(rates, step, endless_windows(batches, accumulation)))
        if cfg.repeats > 1:
            log.info("run %d of %d done", number + 1, cfg.repeats)
    show(rates, runs, configured, f"{type(model).__name__}, {type(optimizer).__name__}, data={chosen('data')}", path)


def losses_at(rates: Sequence[float], step: TrainingStep, windows: Iterator[Window]) -> list[float]:
    """Return the loss of one optimiser step at each rate, up to where it diverges or is not finite.

    Raises:
        NonFiniteLoss: at the first step, before any update.
    """
    from tqdm import tqdm

    from engine.lr_range import has_diverged
    from engine.running_loss import NonFiniteLoss

    losses: list[float] = []
    with tqdm(rates, desc="rising rate", unit="step", leave=False, dynamic_ncols=True, disable=None) as bar:
        for rate, window in zip(bar, windows, strict=False):
            groups = step.optimizer.param_groups
            for group in groups:  # keep the ratio between groups
                group["lr"] = rate * (group["initial_lr"] / groups[0]["initial_lr"])
            step.reset_losses()
            step(window, len(losses) + 1)
            try:
                losses.append(step.running.read()["loss"])
            except NonFiniteLoss:
                if not losses:
                    raise
                break
            bar.set_postfix_str(f"lr {rate:.1e}, loss {losses[-1]:.4f}", refresh=False)
            if has_diverged(losses, len(rates)):
                break
    return losses


def endless_windows(batches: TrainingLoader, size: int) -> Iterator[Window]:
    """Yield the windows of micro-batches of optimiser steps, epoch after epoch, without those that have no labelled
    pixel and therefore no loss.

    Raises:
        UserError: no window of an epoch has a labelled pixel.
    """
    from data.accumulation import windows
    from data.labels import IGNORE_INDEX

    for epoch in itertools.count():
        labelled = 0
        for window in windows(batches, size, epoch):
            if any((batch.masks != IGNORE_INDEX).any() for batch in window.batches):
                labelled += 1
                yield window
        if not labelled:
            raise UserError("no mask of the training split has a labelled pixel: check data.root and the ids in labels")


def show(rates: Sequence[float], runs: Sequence[Sequence[float]], configured: float, what: str, path: Path) -> None:
    """Print and plot the losses of each run at the first of the rates (fewer than all if training diverged)."""
    from engine.lr_range import averaged, smoothed, suggestion, uncertainty
    from utils.tables import table
    from visualization.figures import draw_range_test

    losses = averaged(runs)
    curve = smoothed(losses, len(rates)).tolist()
    place, reason = suggestion(rates, losses)
    marks = {"configured": configured}
    if place is not None:
        marks["suggested (steepest fall)"] = rates[place]
        marks["rate of the lowest loss / 10"] = rates[curve.index(min(curve))] / 10
    rows = [[name, f"{rate:.2g}", f"optimizer.lr={rate:.2g}"] for name, rate in marks.items()]
    spread = uncertainty(rates, runs) if place is not None and len(runs) > 1 else None
    if spread is not None and spread[0] < spread[1]:
        rows.insert(2, ["from other runs", f"{spread[0]:.2g} to {spread[1]:.2g}", ""])
    end = "" if len(losses) == len(rates) else ": diverged"
    end += f", mean of {len(runs)} runs" if len(runs) > 1 else ""
    log.info("%s", table([[f"{len(losses)} of {len(rates)} steps{end}", "rate", "option"], *rows], what))
    if place is None:
        log.warning("no suggestion: %s", f"{reason}, or more repeats={len(runs) + 3}" if len(runs) <= 3 else reason)
    draw_range_test(rates[: len(losses)], losses, curve, marks, f"Learning-rate range test of {what}", path)
    log.info("wrote %s", path)


if __name__ == "__main__":
    launch(find, "find_lr")
