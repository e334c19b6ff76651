from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from engine import schedules

LR = 0.2
STEPS_PER_EPOCH, EPOCHS = 4, 5
TOTAL = STEPS_PER_EPOCH * EPOCHS

Schedule = Callable[..., LambdaLR]
WARMED_UP = ("poly", "cosine", "exponential", "constant")
ALL = pytest.mark.parametrize("schedule", [getattr(schedules, name) for name in WARMED_UP])


def start(schedule: Schedule, total: int = TOTAL, per_epoch: int = STEPS_PER_EPOCH, **options: Any) -> LambdaLR:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    return schedule(optimizer, total_steps=total, steps_per_epoch=per_epoch, **options)


def rates(scheduler: LambdaLR, steps: int) -> list[float]:
    """The rates that the next optimiser steps would use."""
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def all_rates(schedule: Schedule, **options: Any) -> list[float]:
    return rates(start(schedule, **options), TOTAL)


@pytest.mark.parametrize("power", [0.9, 2.0])
@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_poly(power: float, warmup: int) -> None:
    found = all_rates(schedules.poly, power=power, warmup_epochs=warmup)
    first = warmup * STEPS_PER_EPOCH
    expected = [LR * (1 - s / (TOTAL - first)) ** power for s in range(TOTAL - first)]
    assert found[first:] == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_cosine(final: float, warmup: int) -> None:
    found = all_rates(schedules.cosine, final=final, warmup_epochs=warmup)
    first = warmup * STEPS_PER_EPOCH
    low = LR * final
    expected = [low + (LR - low) / 2 * (1 + math.cos(math.pi * s / (TOTAL - first))) for s in range(TOTAL - first)]
    assert found[first:] == pytest.approx(expected)


@pytest.mark.parametrize("total", [3, 7, 20, 101])
@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle_is_that_of_pytorch(total: int, rise: float) -> None:
    found = rates(start(schedules.one_cycle, total=total, rise=rise), total)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total, pct_start=rise, div_factor=25, final_div_factor=10_000, cycle_momentum=False
    )
    expected = []
    for step in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total - 1:  # theirs refuses to go beyond the last step, ours need not
            theirs.step()
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.975, 0.5])
@pytest.mark.parametrize("warmup", [0, 0.5, 2])
def test_exponential(gamma: float, warmup: float) -> None:
    found = all_rates(schedules.exponential, gamma=gamma, warmup_epochs=warmup)
    first = round(warmup * STEPS_PER_EPOCH)
    assert found[first:] == pytest.approx([LR * gamma ** (s / STEPS_PER_EPOCH) for s in range(TOTAL - first)])


def test_constant() -> None:
    assert all_rates(schedules.constant) == [LR] * TOTAL


def test_known_points() -> None:
    """Halfway through: poly 0.5^0.9 = 0.5359, cosine 1/2; after two epochs exponential 0.975^2 = 0.9506."""
    assert all_rates(schedules.poly)[TOTAL // 2] == pytest.approx(LR * 0.535887, rel=1e-5)
    assert all_rates(schedules.cosine)[TOTAL // 2] == pytest.approx(LR / 2)
    assert all_rates(schedules.exponential)[2 * STEPS_PER_EPOCH] == pytest.approx(LR * 0.950625)


@ALL
@pytest.mark.parametrize("warmup_epochs", [0.5, 1, 3])
def test_warmup_rises_evenly_to_the_full_rate(schedule: Schedule, warmup_epochs: float) -> None:
    """From above 0, by the same amount every step, to lr0 at the first step after the warm-up."""
    steps = round(warmup_epochs * STEPS_PER_EPOCH)
    found = all_rates(schedule, warmup_epochs=warmup_epochs)
    assert found[: steps + 1] == pytest.approx([LR * (s + 1) / (steps + 1) for s in range(steps + 1)])
    assert found[steps] == LR


@ALL
def test_a_run_shorter_than_its_warmup(schedule: Schedule) -> None:
    found = all_rates(schedule, warmup_epochs=2 * EPOCHS)
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] <= LR


@ALL
def test_steps_beyond_the_end(schedule: Schedule) -> None:
    """A training that was prolonged by hand keeps a rate that is finite, real and not negative."""
    found = rates(start(schedule, warmup_epochs=1), TOTAL + 3)
    assert all(math.isfinite(rate) and rate >= 0 for rate in found)


@ALL
def test_a_single_step(schedule: Schedule) -> None:
    assert rates(start(schedule, total=1, per_epoch=1), 1) == [LR]


@ALL
@pytest.mark.parametrize("done", [2, 9])
def test_state_dict_round_trip(schedule: Schedule, done: int) -> None:
    """Stopped during the warm-up, or after it, a schedule goes on with the same rates."""
    whole = rates(start(schedule, warmup_epochs=1), TOTAL)
    stopped = start(schedule, warmup_epochs=1)
    rates(stopped, done)
    resumed = start(schedule, warmup_epochs=1)
    resumed.optimizer.load_state_dict(stopped.optimizer.state_dict())
    resumed.load_state_dict(stopped.state_dict())
    assert rates(resumed, TOTAL - done) == whole[done:]


def test_every_group_keeps_its_own_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (LR, LR / 10)]
    scheduler = schedules.poly(SGD(groups), total_steps=TOTAL, steps_per_epoch=STEPS_PER_EPOCH)
    rates(scheduler, 7)
    expected = (1 - 7 / TOTAL) ** 0.9
    assert scheduler.get_last_lr() == pytest.approx([LR * expected, LR / 10 * expected])


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("poly", "power", (0, -1, math.nan, math.inf, 1e20)),
        ("exponential", "gamma", (0, -1, 1.5, math.nan)),
        ("cosine", "final", (-0.1, 1.5, math.nan)),
        ("one_cycle", "rise", (-1, 0, 1, 2, math.nan)),
        *(("one_cycle", option, (-1, 2, math.nan)) for option in ("start", "final")),
        *((name, "warmup_epochs", (-1, math.nan, math.inf, 1e20)) for name in WARMED_UP),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, option: str, values: tuple[float, ...]) -> None:
    for value in values:
        options: dict[str, Any] = {option: value}
        with pytest.raises(ValueError, match=f"{option}="):
            start(getattr(schedules, name), **options)
