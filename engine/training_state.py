"""What `resume` needs of a training, as `last.pt` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine import distributed
from engine.checkpoint import load_weights
from engine.progress import Progress
from engine.randomness import random_state, restore_random_state
from engine.training_step import TrainingStep


def training_state(progress: Progress, step: TrainingStep) -> dict[str, Any]:
    """Everything but the weights, in tensors and plain containers. All processes must call it."""
    own = {
        "totals": step.running.totals.cpu(),
        "denominators": step.running.denominators.cpu(),
        "random": random_state(),
    }
    return {
        "progress": asdict(progress),
        "optimizer": step.optimizer.state_dict(),
        "scheduler": step.scheduler.state_dict(),
        "scaler": step.scaler.state_dict(),
        "average": None if step.average is None else step.average.module.state_dict(),
        "processes": distributed.of_all(own),
    }


def restore_training_state(state: dict[str, Any], step: TrainingStep, steps_done: int) -> Progress:
    """The inverse of `training_state`, in place; returns the progress.

    Where there are other processes than before, the first takes over all sums, and random numbers begin anew.

    Args:
        steps_done: how many steps as many processes as now would have taken.
    """
    scheduler = step.scheduler
    step.optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    if len(state["processes"]) != distributed.processes():
        scheduler.last_epoch = steps_done
    groups = step.optimizer.param_groups
    for group, initial, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = initial * factor(scheduler.last_epoch)  # of this run's length, which may be a new one
    if state["scaler"]:  # empty where the run was without float16 so far
        step.scaler.load_state_dict(state["scaler"])
    if step.average is not None:
        load_weights(step.average.module, state["average"])
    before, rank = state["processes"], distributed.rank()
    if len(before) == distributed.processes():
        mine = [before[rank]]
        restore_random_state(mine[0]["random"])
    else:
        mine = before if rank == 0 else []
    for process in mine:
        step.running.totals += process["totals"].to(step.device)
        step.running.denominators += process["denominators"].to(step.device)
    return Progress(**state["progress"])
