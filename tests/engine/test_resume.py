"""Trainings that were interrupted or killed end as those that were not."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from engine.checkpoint import load_checkpoint
from engine.progress import Progress
from engine.randomness import random_state, restore_random_state, seed_everything
from engine.run_record import RunRecord
from engine.running_loss import NonFiniteLoss
from engine.saving import Saver
from tests.engine.small import at_step, exploding, fit, interrupted, same_run
from utils.interruption import Interrupted
from utils.loggers import NoLogger
from utils.run_folder import RunFolder


@pytest.mark.parametrize("stop_after", [1, 3, 5, 7])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, stop_after: int) -> None:
    """Stopped by a real signal in a step of the first or second epoch."""
    fit(tmp_path / "whole", epochs=3, accumulation_steps=2)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        fit(tmp_path / "stopped", network=at_step(stop_after, interrupted), epochs=3, accumulation_steps=2)
    assert stop.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handler
    fit(tmp_path / "stopped", epochs=3, accumulation_steps=2, resume=True)
    assert same_run(tmp_path / "whole", tmp_path / "stopped")


def test_the_summary_keeps_classes_that_did_not_occur(tmp_path: Path) -> None:
    """Of both rows: the last epoch was not validated."""
    columns = ["epoch", "step", "train/loss", "val/loss", "val/miou", "val/iou/sky", "val/iou/car"]
    best = dict(zip(columns, (1, 5, 0.5, 0.75, 0.25, 0.25, float("nan")), strict=True))
    first = RunRecord(RunFolder(tmp_path), NoLogger(), columns, description={})
    for row, improved in ((best, True), ({"epoch": 2, "step": 10, "train/loss": 0.25}, False)):
        first.add_row(row)
        first.show(row, improved, torch.nn.Identity())
    before = RunFolder(tmp_path).read_summary()
    assert before["best"]["val/iou/car"] is None
    second = RunRecord(RunFolder(tmp_path), NoLogger(), columns, description={})
    second.begin(Progress(epoch=2, best_epoch=1))
    assert RunFolder(tmp_path).read_summary() == before


def test_rows_written_after_the_last_checkpoint_are_not_doubled(tmp_path: Path) -> None:
    """As after a kill between the row of epoch 2 and its checkpoint."""
    fit(tmp_path / "whole", epochs=3)
    run = RunFolder(tmp_path / "killed")
    calls = {"count": 0}

    class Killed(Exception):
        pass

    original = Saver.save_last

    def die(self: Saver, *arguments: Any) -> None:
        calls["count"] += 1
        if calls["count"] == 3:
            raise Killed
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "save_last", die)
        with pytest.raises(Killed):
            fit(run.path, epochs=3)
    assert [row["epoch"] for row in run.read_rows()] == [1, 2]
    fit(run.path, epochs=3, resume=True)
    assert same_run(run.path, tmp_path / "whole")


def test_an_interruption_does_not_save_weights_that_a_loss_has_spoilt(tmp_path: Path) -> None:
    """The loss of step 3 is infinite, Ctrl-C comes in step 4, and losses are read every 10 steps only."""
    with pytest.raises(NonFiniteLoss):
        fit(tmp_path, network=at_step(4, interrupted, at_step(3, exploding)), log_every=10)
    assert all(t.isfinite().all() for t in load_checkpoint(tmp_path)["model"].values())


def test_a_raised_number_of_epochs_goes_on_at_the_rate_of_the_longer_schedule(tmp_path: Path) -> None:
    fit(tmp_path, epochs=2)
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        fit(tmp_path, epochs=4, resume=True)
    finally:
        hook.remove()
    assert rates == pytest.approx([0.01 * (1 - step / 20) ** 0.9 for step in range(10, 20)])


def test_random_states_come_back() -> None:
    import random

    def draw() -> tuple:
        return random.random(), float(np.random.rand()), float(np.random.randn()), torch.rand(3).tolist()

    seed_everything(3)
    draw()
    state = random_state()
    expected = draw()
    draw()
    restore_random_state(state)
    assert draw() == expected


def test_an_interrupted_run_with_averaged_weights_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, "ema": True, "ema_decay": 0.9}
    fit(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", network=at_step(8, interrupted), **options)
    fit(tmp_path / "stopped", resume=True, **options)
    assert load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")["training"]["average"]
    assert same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_that_was_killed_goes_on_from_within_the_epoch(tmp_path: Path) -> None:
    fit(tmp_path / "whole", epochs=3)

    class Killed(BaseException):
        pass

    def killed(logits: Tensor) -> Tensor:
        raise Killed

    with pytest.raises(Killed):  # in the second epoch, of five steps each
        fit(tmp_path / "killed", network=at_step(8, killed), epochs=3, checkpoint_minutes=1e-9)
    progress = load_checkpoint(tmp_path / "killed" / "checkpoints" / "last.pt")["training"]["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 2, 7)
    fit(tmp_path / "killed", epochs=3, resume=True)
    assert same_run(tmp_path / "whole", tmp_path / "killed")


def test_the_schedule_goes_on_in_steps_of_as_many_processes_as_there_are(tmp_path: Path) -> None:
    """Two processes would have taken half as many steps in the two epochs before."""
    fit(tmp_path, epochs=2)
    run = RunFolder(tmp_path)
    checkpoint = torch.load(run.last, weights_only=True)
    checkpoint["training"]["processes"] *= 2
    checkpoint["training"]["scheduler"]["last_epoch"] = 6
    torch.save(checkpoint, run.last)
    loop = fit(tmp_path, epochs=4, resume=True)
    assert loop.training_step.scheduler.last_epoch == 20
    assert [row["lr"] for row in run.read_rows()][2:] == pytest.approx([0.01 * (1 - 15 / 20) ** 0.9, 0])
