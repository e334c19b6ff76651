"""What `resume` needs of a training, as `last.pt` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from engine.averaging import WeightAverage
from engine.checkpoint import load_weights
from engine.progress import Progress
from engine.randomness import random_state, restore_random_state
from engine.running_loss import RunningLoss


def training_state(
    progress: Progress,
    optimizer: Optimizer,
    scheduler: LambdaLR,
    scaler: torch.amp.GradScaler,
    running: RunningLoss,
    average: WeightAverage | None,
) -> dict[str, Any]:
    """Everything but the weights, in tensors and plain containers."""
    return {
        "progress": asdict(progress),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict(),
        "running": {"totals": running.totals, "denominators": running.denominators},
        "random": random_state(),
        "average": None if average is None else average.module.state_dict(),
    }


def restore_training_state(
    state: dict[str, Any],
    optimizer: Optimizer,
    scheduler: LambdaLR,
    scaler: torch.amp.GradScaler,
    running: RunningLoss,
    average: WeightAverage | None,
) -> Progress:
    """The inverse of `training_state`, in place; returns the progress."""
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    for group, initial, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = initial * factor(scheduler.last_epoch)  # of this run's length, which may be a new one
    if state["scaler"]:  # empty where the run was without float16 so far
        scaler.load_state_dict(state["scaler"])
    if average is not None:
        load_weights(average.module, state["average"])
    running.totals.copy_(state["running"]["totals"])
    running.denominators.copy_(state["running"]["denominators"])
    restore_random_state(state["random"])
    return Progress(**state["progress"])
