"""Learning-rate schedules: functions of the optimiser step, after a linear warm-up.

Each takes the optimiser, the number of optimiser steps in the whole run and in an epoch, and returns a
`LambdaLR` to step once per optimiser step. A warm-up of n steps has the rates lr / (n + 1), 2 lr / (n + 1) ...; the
step after it has the full rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def poly(
    optimizer: Optimizer, total_steps: int, steps_per_epoch: int, power: float = 0.9, warmup_epochs: float = 0.0
) -> LambdaLR:
    """Return lr0 * (1 - t) ** power, where t goes from 0 to 1 after the warm-up (Chen et al. 2017, "DeepLab", arXiv
    1606.00915, section 4.1)."""
    if not 0 < power <= 100:
        raise ValueError(f"power={power}: must be greater than 0 and at most 100")
    warmup = _warmup(warmup_epochs, steps_per_epoch, total_steps)
    return _schedule(optimizer, total_steps, warmup, lambda t: (1 - t) ** power)


def cosine(
    optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup_epochs: float = 0.0, final: float = 0.0
) -> LambdaLR:
    """Return half a cosine from lr0 down to `final` * lr0 (Loshchilov and Hutter 2017, "SGDR", arXiv 1608.03983)."""
    _check_shares(final=final)
    warmup = _warmup(warmup_epochs, steps_per_epoch, total_steps)
    return _schedule(optimizer, total_steps, warmup, lambda t: _between(1.0, final, t))


def exponential(
    optimizer: Optimizer, total_steps: int, steps_per_epoch: int, gamma: float = 0.975, warmup_epochs: float = 0.0
) -> LambdaLR:
    """Return lr0 * gamma ** (epochs since the warm-up), updated at every step."""
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma={gamma}: must be greater than 0 and at most 1")
    warmup = _warmup(warmup_epochs, steps_per_epoch, total_steps)
    epochs = (total_steps - warmup) / steps_per_epoch
    return _schedule(optimizer, total_steps, warmup, lambda t: gamma ** (t * epochs))


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    rise: float = 0.3,
    start: float = 0.04,
    final: float = 0.000004,
) -> LambdaLR:
    """Return half a cosine up from `start` * lr0 to lr0 in the first `rise` of the steps, and one down to `final` * lr0
    (Smith and Topin 2018, "Super-Convergence", arXiv 1708.07120, with cosines in place of lines, as is common)."""
    if not 0 < rise < 1:
        raise ValueError(f"rise={rise}: must be greater than 0 and less than 1")
    _check_shares(start=start, final=final)
    top, last = rise * total_steps - 1, total_steps - 1

    def at(step: int) -> float:
        if step < top:
            return _between(start, 1.0, step / top)
        return _between(1.0, final, min((step - top) / max(last - top, 1), 1.0))

    return LambdaLR(optimizer, at)


def _check_shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: must be from 0 to 1, as a share of the optimizer's lr")


def _between(a: float, b: float, t: float) -> float:
    """Return the value at t on half a cosine from a to b."""
    return b + (a - b) * (1 + math.cos(math.pi * t)) / 2


def constant(optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup_epochs: float = 0.0) -> LambdaLR:
    """Return lr0 at every step."""
    return _schedule(optimizer, total_steps, _warmup(warmup_epochs, steps_per_epoch, total_steps), lambda t: 1.0)


def _warmup(epochs: float, steps_per_epoch: int, total_steps: int) -> int:
    """Return the number of steps of the warm-up, at most those of the run."""
    if not 0 <= epochs <= 1_000_000:
        raise ValueError(f"warmup_epochs={epochs}: must be from 0 to 1,000,000")
    return round(min(epochs * steps_per_epoch, total_steps))


def _schedule(optimizer: Optimizer, total_steps: int, warmup: int, factor: Callable[[float], float]) -> LambdaLR:
    """Return a schedule with this factor of the progress t, from 0 to 1, after the warm-up."""

    def at(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return factor(min((step - warmup) / max(total_steps - warmup, 1), 1.0))

    return LambdaLR(optimizer, at)
