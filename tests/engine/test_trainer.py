import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.augmentation import Augmentation
from data.labels import LabelSet
from data.loading import TrainingLoader, ValidationLoader
from data.samples import Sample
from engine.checkpoint import load_checkpoint
from engine.device import autocast_dtype, choose_device
from engine.evaluator import evaluate
from engine.metrics import scores
from engine.randomness import random_state, restore_random_state, seed_everything
from engine.running_loss import NonFiniteLoss
from engine.schedules import constant, poly
from engine.trainer import Trainer, windows_of
from losses.combinations import ce_iou
from utils.errors import DataFault, UserError
from utils.interruption import Interrupted
from utils.loggers import NoLogger
from utils.run_folder import RunFolder

SIZE = (32, 32)


class Halves:
    """Noise whose left half is darker (class 0) than its right half (class 1)."""

    labels = LabelSet(("left", "right"), ((0, 0, 0), (255, 255, 255)))
    faults: list[DataFault] = []
    splits = ("train", "val")

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        mask = np.zeros(SIZE, np.uint8)
        mask[:, 16:] = 1
        noise = np.random.default_rng(index).integers(0, 100, (*SIZE, 3))
        return Sample((noise + mask[..., None] * 120).astype(np.uint8), mask, f"sample {index}")

    def name(self, index: int) -> str:
        return f"sample {index}"

    def files(self, index: int) -> list[str]:
        return []

    def size(self, index: int) -> tuple[int, int]:
        return SIZE


class Net(nn.Module):
    """A convolution, batch norm and dropout: everything that has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Notes:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.values: list[tuple[int, dict[str, float]]] = []

    def log(self, values: Any, step: int) -> None:
        self.values.append((step, dict(values)))

    def close(self) -> None:
        pass


def fit(
    folder: Path, network: type[nn.Module] = Net, resume: bool = False, logger: Any = None, **options: Any
) -> Trainer:
    """Trains a small network on 10 samples, in batches of 2."""
    options = {"epochs": 2, "device": "cpu", **options}
    trainer = Trainer(**options)
    seed_everything(0)
    folder.mkdir(exist_ok=True)
    run = RunFolder(folder)
    model = trainer.prepare(network())
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}))
    train = TrainingLoader(Halves(10), Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=0)
    steps = trainer.steps_per_epoch(train)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = poly(optimizer, steps * trainer.epochs, steps)
    trainer.fit(
        model,
        loss,
        optimizer,
        scheduler,
        train,
        ValidationLoader(Halves(4), batch_size=3, num_workers=0),
        Halves.labels,
        run,
        logger or NoLogger(""),
        {"config": {}, "image_size": list(SIZE)},
        resume_from=load_checkpoint(run.last) if resume else None,
    )
    return trainer


def same_state(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same weights and optimiser, bit for bit."""
    first, second = (load_checkpoint(p / "checkpoints" / "last.pt") for p in (a, b))
    moments = [[t for s in c["training"]["optimizer"]["state"].values() for t in s.values()] for c in (first, second)]
    return all(torch.equal(first["model"][n], second["model"][n]) for n in first["model"]) and all(
        torch.equal(x, y) for x, y in zip(*moments, strict=True)
    )


def without_clocks(folder: Path) -> list[dict[str, float]]:
    rows = RunFolder(folder).read_rows()
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    trainer = fit(tmp_path, epochs=6)
    rows = RunFolder(tmp_path).read_rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"] / 2
    best = max(rows, key=lambda row: row["val/miou"])
    assert best["val/miou"] > 0.95
    assert load_checkpoint(tmp_path)["epoch"] == best["epoch"] == trainer.progress.best_epoch
    assert rows[-1]["lr"] == pytest.approx(0)
    assert rows[2]["lr"] == pytest.approx(0.01 * 0.5**0.9)
    assert RunFolder(tmp_path).read_summary()["best"]["val/miou"] == pytest.approx(best["val/miou"])


def test_two_runs_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    fit(tmp_path / "a")
    fit(tmp_path / "b")
    assert same_state(tmp_path / "a", tmp_path / "b")
    assert without_clocks(tmp_path / "a") == without_clocks(tmp_path / "b")


def test_validation_is_periodic_and_last(tmp_path: Path) -> None:
    fit(tmp_path, epochs=5, validate_every=2)
    assert [("val/miou" in row) for row in RunFolder(tmp_path).read_rows()] == [False, True, False, True, True]


def test_windows() -> None:
    assert list(windows_of([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]  # type: ignore[list-item]


@pytest.mark.parametrize(("size", "steps"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_accumulation_counts_the_shorter_last_window(tmp_path: Path, size: int, steps: int) -> None:
    trainer = fit(tmp_path, accumulation_steps=size)
    assert trainer.progress.step == 2 * steps
    assert trainer.step.scheduler.last_epoch == 2 * steps


def test_losses_are_lower_is_better(tmp_path: Path) -> None:
    trainer = fit(tmp_path, epochs=4, monitor="val/soft_iou")
    rows = RunFolder(tmp_path).read_rows()
    assert trainer.progress.best == pytest.approx(min(row["val/soft_iou"] for row in rows))
    with pytest.raises(UserError, match=r"trainer\.monitor=val/mIoU .*did you mean 'val/miou'"):
        fit(tmp_path / "b", monitor="val/mIoU")
    with pytest.raises(UserError, match="train/loss"):
        fit(tmp_path / "c", monitor="train/loss")


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

    original = Trainer._save_last

    def die(self: Trainer, *arguments: Any) -> None:
        calls["count"] += 1
        if calls["count"] == 3:
            raise Killed
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_save_last", die)
        with pytest.raises(Killed):
            fit(run.path, epochs=3)
    assert [row["epoch"] for row in run.read_rows()] == [1, 2]
    fit(run.path, epochs=3, resume=True)
    assert without_clocks(run.path) == without_clocks(tmp_path / "whole")
    assert same_state(run.path, tmp_path / "whole")


def test_a_loss_that_is_not_finite_names_the_samples(tmp_path: Path) -> None:
    class Exploding(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) * (math.inf if self.training and self.calls == 3 else 1)

    with pytest.raises(NonFiniteLoss, match=r"not finite .*\n.*") as error:
        fit(tmp_path, network=Exploding, log_every=2)
    loader = TrainingLoader(Halves(10), Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=0)
    names = [batch.names for batch in loader][2]
    assert f"in the batch of: {', '.join(names)}" in str(error.value)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint["epoch"] == 0
    assert all(t.isfinite().all() for t in checkpoint["model"].values())


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


def test_clipping_bounds_the_gradient_and_logs_its_norm(tmp_path: Path) -> None:
    """With plain SGD of rate 1, the weights move by the clipped gradient."""
    notes = Notes()
    trainer = fit(tmp_path, grad_clip=0.05, log_every=1, logger=notes)
    norms = [values["step/grad_norm"] for _, values in notes.values if "step/grad_norm" in values]
    assert len(norms) == 10 and max(norms) > 0.05  # measured before it is clipped
    window = next(windows_of(trainer.train, 1))
    step, trained = trainer.step, list(trainer.model.parameters())
    before = [p.detach().clone() for p in trained]
    step.optimizer = torch.optim.SGD(trained, lr=1.0)
    step.scheduler = constant(step.optimizer, 10, 5)
    step(window, 1, 11)
    moved = torch.stack([(p - b).norm() for p, b in zip(trained, before, strict=True)]).norm()
    assert moved.item() == pytest.approx(0.05, rel=1e-3)


def test_the_logger_hears_of_losses_and_metrics(tmp_path: Path) -> None:
    notes = Notes()
    fit(tmp_path, log_every=2, logger=notes)
    assert [step for step, values in notes.values if "step/loss" in values] == [2, 4, 6, 8, 10]
    epochs = [(step, values) for step, values in notes.values if "val/miou" in values]
    assert [step for step, _ in epochs] == [5, 10]
    assert "val/iou/left" in epochs[0][1]


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_learns_in_float32_weights(tmp_path: Path, amp: str) -> None:
    seen = []

    class Watching(Net):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            seen.append((x.dtype, logits.dtype))
            return logits

    trainer = fit(tmp_path, network=Watching, epochs=6, amp=amp)
    assert set(seen) == {(torch.float32, torch.bfloat16 if amp == "bf16" else torch.float16)}
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert trainer.step.scaler.is_enabled() == (amp == "fp16")
    assert trainer.progress.best > 0.9


def test_a_step_that_the_scaler_skips_does_not_advance_the_schedule(tmp_path: Path) -> None:
    class Overflowing(Net):
        """Logits that are finite, with a gradient that float16 cannot hold, in the first step."""

        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            logits = super().forward(x)
            if self.training and self.calls == 1:
                logits.register_hook(lambda grad: grad * math.inf)
            return logits

    trainer = fit(tmp_path, network=Overflowing, epochs=1, amp="fp16")
    assert trainer.progress.step == 5
    assert trainer.step.scheduler.last_epoch == 4
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_devices_and_precisions() -> None:
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert choose_device("auto").type in ("cpu", "mps")
        with pytest.raises(UserError, match=r"'cuda' is not available.*available: auto, cpu"):
            choose_device("cuda")
    assert autocast_dtype("auto", torch.device("cpu")) is None
    assert autocast_dtype("bf16", torch.device("cpu")) is torch.bfloat16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("amp", ["auto", "off", "fp16", "bf16"])
def test_on_cuda(tmp_path: Path, amp: str) -> None:
    assert fit(tmp_path, epochs=6, device="cuda", amp=amp).progress.best > 0.9


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


def test_the_averaged_weights_are_validated_and_kept(tmp_path: Path) -> None:
    """best.pt holds weights with which the evaluator gets the value in metrics.csv; those of last.pt are others."""
    trainer = fit(tmp_path, epochs=2, ema=True, ema_decay=0.9)
    best, last = (load_checkpoint(tmp_path / "checkpoints" / f"{name}.pt") for name in ("best", "last"))
    assert not torch.equal(best["model"]["layers.0.weight"], last["model"]["layers.0.weight"])
    model = trainer.prepare(Net())
    model.load_state_dict(best["model"])
    loader = ValidationLoader(Halves(4), batch_size=1, num_workers=0)
    found = evaluate(model, None, loader, num_classes=2, device=trainer.device, normalization=trainer.normalization)
    assert scores(found.confusion).miou == pytest.approx(trainer.progress.best)
    assert torch.equal(found.confusion, best["confusion"])


def test_it_stops_when_nothing_gets_better(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Net):
        """Predicts the same whatever it learns."""

        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return out if self.training else out * 0 + torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)

    with caplog.at_level("INFO"):
        trainer = fit(tmp_path, network=Stuck, epochs=50, early_stopping=3)
    assert trainer.progress.best_epoch == 1 and trainer.progress.epoch == 4
    assert "no better val/miou in 3 epochs: stopped early" in caplog.text
    again = fit(tmp_path, network=Stuck, epochs=50, early_stopping=3, resume=True)
    assert again.progress.epoch == 4


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


def test_batch_norm_over_all_processes_is_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(1, device="cpu", sync_batchnorm=True)  # of one process there is nothing to do
    monkeypatch.setattr("engine.distributed.processes", lambda: 2)
    with pytest.raises(UserError, match="sync_batchnorm=true: PyTorch has it for CUDA devices, not for cpu"):
        Trainer(1, device="cpu", sync_batchnorm=True)


def test_a_network_that_cannot_be_compiled_trains_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path / "plain", epochs=1)

    def refuse(*_: Any) -> None:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", lambda model: refuse)
    fit(tmp_path / "compiled", epochs=1, compile=True)
    assert "trainer.compile: goes on without, since Net could not be compiled: no compiler found" in caplog.text
    assert same_state(tmp_path / "plain", tmp_path / "compiled")


def test_the_schedule_goes_on_in_steps_of_as_many_processes_as_there_are(tmp_path: Path) -> None:
    """Two processes would have taken half as many steps in the two epochs before."""
    fit(tmp_path, epochs=2)
    run = RunFolder(tmp_path)
    checkpoint = torch.load(run.last, weights_only=True)
    checkpoint["training"]["processes"] *= 2
    checkpoint["training"]["scheduler"]["last_epoch"] = 6
    torch.save(checkpoint, run.last)
    trainer = fit(tmp_path, epochs=4, resume=True)
    assert trainer.step.scheduler.last_epoch == 20
    assert [row["lr"] for row in run.read_rows()][2:] == pytest.approx([0.01 * (1 - 15 / 20) ** 0.9, 0])


@pytest.mark.parametrize("options", [{}, {"checkpoint_minutes": 1e-9}])
def test_weights_that_are_spoilt_do_not_replace_good_ones(tmp_path: Path, options: dict) -> None:
    """A finite loss with a gradient that is not, in the last step of the first epoch."""

    class Exploding(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            self.calls += self.training
            if self.training and self.calls == 5:
                logits.register_hook(lambda grad: grad * math.inf)
            return logits

    with pytest.raises(NonFiniteLoss, match="a weight is no longer finite after step 5"):
        fit(tmp_path, network=Exploding, **options)
    weights = load_checkpoint(RunFolder(tmp_path).last)["model"]
    assert all(value.isfinite().all() for value in weights.values())
