"""Trainings that were interrupted or killed end as those that were not."""

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.checkpoint import load_checkpoint
from engine.randomness import random_state, restore_random_state, seed_everything
from engine.running_loss import NonFiniteLoss
from engine.saving import Saver
from tests.engine.small import Net, fit, same_state, without_clocks
from utils.interruption import Interrupted
from utils.run_folder import RunFolder


@pytest.mark.parametrize("stop_after", [1, 3, 5, 7])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, stop_after: int) -> None:
    """Stopped by a real signal in a step of the first or second epoch."""
    fit(tmp_path / "whole", epochs=3, accumulation_steps=2)
    handler = signal.getsignal(signal.SIGINT)

    class Stopping(Net):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            if self.training and self.calls == stop_after:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    with pytest.raises(Interrupted) as stop:
        fit(tmp_path / "stopped", network=Stopping, epochs=3, accumulation_steps=2)
    assert stop.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handler
    fit(tmp_path / "stopped", epochs=3, accumulation_steps=2, resume=True)
    assert same_state(tmp_path / "whole", tmp_path / "stopped")
    assert without_clocks(tmp_path / "whole") == without_clocks(tmp_path / "stopped")


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
    assert without_clocks(run.path) == without_clocks(tmp_path / "whole")
    assert same_state(run.path, tmp_path / "whole")


def test_an_interruption_does_not_save_weights_that_a_loss_has_spoilt(tmp_path: Path) -> None:
    """The loss of step 3 is infinite, Ctrl-C comes in step 4, and losses are read every 10 steps only."""

    class Exploding(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 4:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x) * (math.inf if self.calls == 3 else 1)

    with pytest.raises(NonFiniteLoss):
        fit(tmp_path, network=Exploding, log_every=10)
    assert all(t.isfinite().all() for t in load_checkpoint(tmp_path)["model"].values())


def test_a_raised_number_of_epochs_goes_on_at_the_rate_of_the_longer_schedule(tmp_path: Path) -> None:
    fit(tmp_path, epochs=2)
    rates: list[float] = []

    class Watching(Net):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                rates.append(optimizers[0].param_groups[0]["lr"])
            return super().forward(x)

    optimizers: list[torch.optim.Optimizer] = []
    original = torch.optim.AdamW.__init__
    with pytest.MonkeyPatch.context() as patch:

        def remember(self: torch.optim.AdamW, *arguments: Any, **options: Any) -> None:
            original(self, *arguments, **options)
            optimizers.append(self)

        patch.setattr(torch.optim.AdamW, "__init__", remember)
        fit(tmp_path, network=Watching, epochs=4, resume=True)
    assert rates[0] == pytest.approx(0.01 * (1 - 10 / 20) ** 0.9)


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

    class Stopping(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            if self.calls == 8:
                signal.raise_signal(signal.SIGTERM)
                self.calls += 1
            return super().forward(x)

    with pytest.raises(Interrupted):
        fit(tmp_path / "stopped", network=Stopping, **options)
    fit(tmp_path / "stopped", resume=True, **options)
    assert same_state(tmp_path / "whole", tmp_path / "stopped")
    assert without_clocks(tmp_path / "whole") == without_clocks(tmp_path / "stopped")
    averages = [
        load_checkpoint(tmp_path / n / "checkpoints/last.pt")["training"]["average"] for n in ("whole", "stopped")
    ]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])


def test_a_run_that_was_killed_goes_on_from_within_the_epoch(tmp_path: Path) -> None:
    fit(tmp_path / "whole", epochs=3)

    class Killed(BaseException):
        pass

    class Dying(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            if self.calls == 8:  # in the second epoch, of five steps each
                raise Killed
            return super().forward(x)

    with pytest.raises(Killed):
        fit(tmp_path / "killed", network=Dying, epochs=3, checkpoint_minutes=1e-9)
    progress = load_checkpoint(tmp_path / "killed" / "checkpoints" / "last.pt")["training"]["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 2, 7)
    fit(tmp_path / "killed", epochs=3, resume=True)
    assert same_state(tmp_path / "whole", tmp_path / "killed")
    assert without_clocks(tmp_path / "whole") == without_clocks(tmp_path / "killed")


def test_the_schedule_goes_on_in_steps_of_as_many_processes_as_there_are(tmp_path: Path) -> None:
    """Two processes would have taken half as many steps in the two epochs before."""
    fit(tmp_path, epochs=2)
    run = RunFolder(tmp_path)
    checkpoint = torch.load(run.last, weights_only=True)
    checkpoint["training"]["processes"] *= 2
    checkpoint["training"]["scheduler"]["last_epoch"] = 6
    torch.save(checkpoint, run.last)
    loop = fit(tmp_path, epochs=4, resume=True)
    assert loop.step.scheduler.last_epoch == 20
    assert [row["lr"] for row in run.read_rows()][2:] == pytest.approx([0.01 * (1 - 15 / 20) ** 0.9, 0])
