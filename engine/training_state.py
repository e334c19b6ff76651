"""The state of a training that `resume` restores from `last.pt`."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from engine import distributed
from engine.checkpoint import Count, check_weights, load_weights
from engine.progress import Progress
from engine.randomness import random_state, restore_random_state
from engine.training_step import TrainingStep
from utils.errors import UserError
from utils.safe_reading import FileSchema, check_schema
from utils.tensor_file import check_tensors
from utils.text import shown

REMEDY = "restore last.pt from a copy, or start a new run"


class StoredProgress(FileSchema):
    """As `Progress`."""

    epoch: Count
    batch: Count
    step: Count
    best: float
    best_epoch: Count


class StoredGroup(FileSchema):
    """A parameter group of an optimiser. Its options come from the config of the run."""

    params: list[Count]


class StoredOptimizer(FileSchema):
    """As returned by `Optimizer.state_dict`."""

    state: dict[Count, dict[str, Tensor | float | None]]
    param_groups: list[StoredGroup]


class StoredScheduler(FileSchema):
    """The part of `LambdaLR.state_dict` that does not come from the config of the run."""

    last_epoch: Count


class StoredScaler(FileSchema):
    """As returned by `GradScaler.state_dict`."""

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Annotated[int, Field(ge=1)]
    growth_tracker: Annotated[int, Field(ge=0, alias="_growth_tracker")]


class StoredRandom(FileSchema):
    """As returned by `random_state`."""

    python: tuple[int, tuple[int, ...], float | None]
    numpy: tuple[str, list[int], int, int, float]
    torch: Tensor
    cuda: Tensor | None


class StoredProcess(FileSchema):
    """The state that differs between processes."""

    totals: Tensor
    denominators: Tensor
    random: StoredRandom


class StoredTraining(FileSchema):
    """The types of the values that `training_state` returns."""

    progress: StoredProgress
    optimizer: StoredOptimizer
    scheduler: StoredScheduler
    scaler: dict[str, Any]
    average: dict[str, Tensor] | None
    processes: Annotated[list[StoredProcess], Field(min_length=1)]


def training_state(progress: Progress, step: TrainingStep) -> dict[str, Any]:
    """Return all state except the weights, as tensors and plain containers. All processes must call it."""
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
        "processes": distributed.gather(own),
    }


def check_training_state(checkpoint: dict[str, Any], file: object) -> None:
    """Check the types of the state in a checkpoint, and its random states.

    Args:
        file: where the checkpoint comes from, for messages.

    Raises:
        UserError: the first wrong value is named.
    """
    state = checkpoint.get("training")
    if state is None or checkpoint.get("epoch") is None:
        raise UserError(f"{file}: holds no training state, so it cannot be resumed; {REMEDY}")
    place = f"{file}: training"
    check_schema(StoredTraining, state, place, REMEDY)
    if state["progress"]["epoch"] != checkpoint["epoch"]:
        done = state["progress"]["epoch"]
        raise UserError(f"{place}: progress.epoch: is {done}, and epoch {checkpoint['epoch']}; {REMEDY}")
    if state["scaler"]:
        check_schema(StoredScaler, state["scaler"], f"{place}: scaler", REMEDY)
    check_tensors(state["average"] or {}, f"{place}: average")
    for number, process in enumerate(state["processes"]):
        check_tensors(process, f"{place}: processes.{number}")
        version, internal, gauss = process["random"]["python"]
        try:  # in temporary generators
            random.Random().setstate((version, tuple(internal), gauss))
            np.random.RandomState().set_state(tuple(process["random"]["numpy"]))
            torch.Generator().set_state(process["random"]["torch"].cpu())
        except Exception as error:  # from any of three libraries
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{place}: processes.{number}.random: {reason[:200]}; {REMEDY}") from error


def check_fit(
    state: dict[str, Any], model: nn.Module, terms: int, optimizer: Optimizer, ema: bool, file: object
) -> None:
    """Check that a state fits a training, before any of it is restored.

    Args:
        state: checked by `check_training_state`.
        terms: number of terms of the loss.
        ema: whether an average of the weights is kept.
        file: where it comes from, for messages.

    Raises:
        UserError: it belongs to other parameters, another loss or optimiser, or is not finite; the first value
            is named.
    """
    if ema:
        check_weights(model, state["average"] or {}, f"{file}: training.average")
    for number, process in enumerate(state["processes"]):
        for name in ("totals", "denominators"):
            if process[name].shape != (terms,) or not process[name].is_floating_point():
                raise UserError(
                    f"{file}: training.processes.{number}.{name}: not {terms} numbers, one for each term of the loss;"
                    f" {REMEDY}"
                )
    _check_optimizer(state["optimizer"], optimizer, f"{file}: training.optimizer")


def _check_optimizer(state: dict[str, Any], optimizer: Optimizer, place: str) -> None:
    have = [len(group["params"]) for group in state["param_groups"]]
    need = [len(group["params"]) for group in optimizer.param_groups]
    if have != need:
        raise UserError(f"{place}: groups of {have} parameters, where the model has {need}; {REMEDY}")
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if sorted(numbers) != sorted(set(numbers)) or not state["state"].keys() <= set(numbers):
        raise UserError(f"{place}: the numbers of the parameters repeat or are unknown; {REMEDY}")
    groups = [group for group in optimizer.param_groups for _ in group["params"]]
    for number, parameter, group in zip(numbers, parameters, groups, strict=True):
        own = state["state"].get(number)
        if not own:  # before the first step
            continue
        where = f"{place}.state.{number}"
        have_shapes, need_shapes = _shapes(own), _shapes_after_a_step(optimizer, group, parameter)
        if need_shapes is not None and have_shapes != need_shapes:
            keys = {*have_shapes, *need_shapes}
            key = min(key for key in keys if have_shapes.get(key) != need_shapes.get(key))
            raise UserError(
                f"{where}: {shown(key)} is {have_shapes.get(key, 'missing')} in the file, and"
                f" {type(optimizer).__name__} needs {need_shapes.get(key, 'nothing of that name')}; {REMEDY}"
            )
        check_tensors(own, where)


def _shapes(state: dict[str, Any]) -> dict[str, str]:
    """Return the shape of each tensor in the state of an optimiser, and the type of each other value."""
    return {
        name: f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        for name, value in state.items()
    }


def _shapes_after_a_step(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> dict[str, str] | None:
    """Return the `_shapes` of an optimiser's state for a parameter, from a trial step; None if that fails."""
    copy = torch.nn.Parameter(torch.zeros(parameter.shape))
    copy.grad = torch.zeros(parameter.shape)
    make: Any = type(optimizer)
    try:
        small = make([{**group, "params": [copy]}], lr=group["lr"])
        small.step()
    except Exception:  # the user's own optimiser, or options that need CUDA
        return None
    return _shapes(small.state[copy])


def restore_training_state(state: dict[str, Any], step: TrainingStep, steps_done: int) -> Progress:
    """Restore what `training_state` returned, in place, and return the progress.

    The options of the optimiser and the schedule come from the config. If the number of processes has changed, the
    first process takes all sums, and random numbers are not continued.

    Args:
        state: checked by `check_training_state` and `check_fit`.
        steps_done: optimiser steps that the current number of processes would have taken.
    """
    scheduler, optimizer = step.scheduler, step.optimizer
    groups = optimizer.param_groups
    options = [{key: value for key, value in group.items() if key != "params"} for group in groups]
    stored = [group["params"] for group in state["optimizer"]["param_groups"]]
    optimizer.load_state_dict(
        {
            "state": state["optimizer"]["state"],
            "param_groups": [{**own, "params": params} for own, params in zip(options, stored, strict=True)],
        }
    )
    same_processes = len(state["processes"]) == distributed.processes()
    scheduler.last_epoch = state["scheduler"]["last_epoch"] if same_processes else steps_done
    scheduler._step_count = scheduler.last_epoch + 1  # otherwise it warns that the optimiser has not stepped yet
    for group, initial, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = initial * factor(scheduler.last_epoch)  # the length of the run may have changed
    if state["scaler"]:  # empty if the run has not used float16
        step.scaler.load_state_dict(state["scaler"])
    if step.average is not None:
        load_weights(step.average.module, state["average"])
    before, rank = state["processes"], distributed.rank()
    if same_processes:
        mine = [before[rank]]
        restore_random_state(mine[0]["random"])
    else:
        mine = before if rank == 0 else []
    for process in mine:
        step.running.totals += process["totals"].to(step.device)
        step.running.denominators += process["denominators"].to(step.device)
    return Progress(**state["progress"])
