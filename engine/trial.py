"""Trials before training: call the network, loss, optimizer and scheduler once, since users may write their own.

Each raises a UserError that states what was expected, instead of a traceback in the middle of the first epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from data.labels import IGNORE_INDEX
from engine.size import QUICKLY_COMPUTED, in_channels_of
from losses.term import LossTerm, Term
from losses.weighted_sum import WeightedSum
from utils.errors import UserError, as_user_error

STEPS = 200
"""Steps of a schedule to try."""


def try_model(model: Any, num_classes: int, image_size: tuple[int, int]) -> None:
    """Run a copy of a network on two images, in training and in eval mode.

    Raises:
        UserError: it is not a network, fails, or does not return logits (2, num_classes, *image_size). In training mode
            it may return a tuple, with auxiliary logits after the main ones.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise UserError(f"model: a {name} was built; expected a torch.nn.Module")
    expected = (2, num_classes, *image_size)
    for mode, found in zip(("training", "eval"), _outputs(model, image_size), strict=True):
        logits = found if mode == "training" and isinstance(found, tuple) and found else (found,)
        for each in logits:
            place = f"model: {name} returns"
            if not isinstance(each, Tensor):
                also = ", or a tuple of them with the main ones first" if mode == "training" else ""
                kind = f"a {type(each).__name__}" if each is not None else "nothing"
                raise UserError(
                    f"{place} {kind} in {mode} mode; expected logits, a tensor (N, {num_classes}, H, W){also}"
                )
            if each.shape == expected and each.is_floating_point():
                continue
            remedy = "return one channel per class (num_classes)"
            if each.ndim == 4 and each.shape[1] == num_classes:
                remedy = "resize them to the images' size: F.interpolate(logits, images.shape[-2:], mode='bilinear')"
            raise UserError(
                f"{place} {str(each.dtype).removeprefix('torch.')} {tuple(each.shape)} for images"
                f" {(2, in_channels_of(model), *image_size)}"
                f" in {mode} mode; expected logits {expected}: {remedy}"
            )


def _outputs(model: nn.Module, image_size: tuple[int, int]) -> tuple[Any, Any]:
    """Return the outputs of a copy of the network in training and in eval mode.

    For large images it runs on the meta device, which computes nothing, if it can.
    """
    shape = 2, in_channels_of(model), *image_size
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if image_size[0] * image_size[1] > QUICKLY_COMPUTED:
            with suppress(Exception):  # the meta device does not support everything
                images, tried = torch.empty(shape, device="meta"), copy.deepcopy(model).to("meta")
                return tried.train()(images), tried.eval()(images)
        images, tried = torch.zeros(shape), copy.deepcopy(model).cpu()
        name = f"model: {type(model).__name__} fails on images {tuple(images.shape)}"
        with as_user_error(name):
            return tried.train()(images), tried.eval()(images)


def try_loss(loss: Any, num_classes: int) -> None:
    """Compute a loss and its gradient for random logits, with and without labelled pixels.

    Raises:
        UserError: it is not a `WeightedSum`, fails, or a term is not finite, has a gradient at ignored pixels, has none
            elsewhere, or its two denominators differ.
    """
    if not isinstance(loss, WeightedSum):
        raise UserError(
            f"loss: a {type(loss).__name__} was built; expected a losses.weighted_sum.WeightedSum of LossTerms"
            " (docs/extending.md)"
        )
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(num_classes, (2, 32, 32), generator=generator)
    target[:, :8] = IGNORE_INDEX
    for void in (False, True):
        logits = torch.randn(2, num_classes, 32, 32, generator=generator, requires_grad=True)
        truth = torch.full_like(target, IGNORE_INDEX) if void else target
        without = " without a labelled pixel (all 255)" if void else ""
        with as_user_error(f"loss: fails on a batch{without}"):
            terms = loss.named_terms(logits, truth)
        for own, (name, term) in zip(loss.terms, terms.items(), strict=True):
            place = f"loss: {name}{without}"
            _check_term(place, term, logits)
            with as_user_error(f"{place}: denominator fails"):
                found = cast(LossTerm, own).denominator(truth)
            is_scalar = isinstance(found, Tensor) and found.shape == ()
            if not is_scalar or not torch.allclose(found.float(), term.denominator):
                raise UserError(f"{place}: denominator(target) is {found}, and forward's is {term.denominator}")
            if void and (term.denominator != 0 or term.total != 0):
                raise UserError(f"{place} is {term.total:g} / {term.denominator:g}; expected 0 / 0")
        gradient = logits.grad
        constant = void or num_classes == 1  # softmax over one class is 1 whatever its logits are
        if gradient is None or not gradient.isfinite().all() or not (constant or gradient.any()):
            raise UserError(f"loss: no finite gradient for the logits{without}; compute it with torch operations")
        if gradient.movedim(1, -1)[truth == IGNORE_INDEX].any():
            raise UserError(f"loss: ignored pixels (255) have a gradient{without}; mask them")


def _check_term(place: str, term: Any, logits: Tensor) -> None:
    """Check the value of a term, and add its gradient to that of the logits."""
    if not isinstance(term, Term):
        raise UserError(f"{place}: a {type(term).__name__} is returned; expected losses.term.Term(total, denominator)")
    for key, value in term._asdict().items():
        if not isinstance(value, Tensor) or value.shape != () or not value.isfinite():
            raise UserError(f"{place}: {key} is {value}; expected a finite scalar tensor")
    if term.denominator < 0:
        raise UserError(f"{place}: the denominator is {term.denominator:g}; expected 0 or more")
    if term.total.requires_grad:
        term.total.backward(retain_graph=True)


def try_optimizer(make: Callable[[list[nn.Parameter]], Any]) -> Optimizer:
    """Take a step of an optimizer on a new parameter, and return that optimizer.

    Args:
        make: builds the optimizer of the config for parameters.

    Raises:
        UserError: it is not an optimizer, fails, or makes the parameter infinite or NaN.
    """
    parameter = nn.Parameter(torch.ones(4, 4))
    optimizer = make([parameter])
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise UserError(f"optimizer: a {name} was built; expected a torch.optim.Optimizer")
    parameter.grad = torch.full((4, 4), 0.1)
    with as_user_error(f"optimizer: a step of {name} fails"):
        optimizer.step()
    if not parameter.isfinite().all():
        raise UserError(f"optimizer: {name} makes weights NaN or infinite in its first step; check its arguments")
    return optimizer


def try_scheduler(scheduler: Any, optimizer: Optimizer, total_steps: int) -> None:
    """Step through the beginning of a schedule.

    Args:
        scheduler, optimizer: built for this trial, which changes both.

    Raises:
        UserError: it is not a `LambdaLR`, fails, or gives a rate that is negative, NaN or infinite.
    """
    name = type(scheduler).__name__
    if not isinstance(scheduler, LambdaLR):
        raise UserError(
            f"scheduler: a {name} was built; expected a torch.optim.lr_scheduler.LambdaLR, as in engine/schedules.py"
        )
    with as_user_error("optimizer: a step fails"):
        optimizer.step()  # torch expects it before a step of the schedule
    for step in range(min(total_steps, STEPS)):
        for rate in (group["lr"] for group in optimizer.param_groups):
            if not isinstance(rate, int | float | Tensor) or not 0 <= float(rate) < float("inf"):
                raise UserError(f"scheduler: the learning rate of step {step + 1} is {rate}; expected 0 or more")
        with as_user_error(f"scheduler: step {step + 1} fails"):
            scheduler.step()
