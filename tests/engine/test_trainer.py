import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data.accumulation import windows
from data.augmentation import Augmentation
from data.loading import TrainingLoader, ValidationLoader
from engine.checkpoint import load_checkpoint
from engine.device import autocast_dtype, choose_device
from engine.evaluator import evaluate
from engine.metrics import scores
from engine.running_loss import NonFiniteLoss
from engine.schedules import constant
from engine.trainer import Trainer
from tests.engine.small import SIZE, Halves, Net, Notes, at_step, exploding, fit, same_run, with_infinite_gradient
from utils.errors import UserError
from utils.run_folder import RunFolder


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    loop = fit(tmp_path, epochs=6)
    rows = RunFolder(tmp_path).read_rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"] / 2
    best = max(rows, key=lambda row: row["val/miou"])
    assert best["val/miou"] > 0.95
    assert load_checkpoint(tmp_path)["epoch"] == best["epoch"] == loop.progress.best_epoch
    assert rows[-1]["lr"] == pytest.approx(0)
    assert rows[2]["lr"] == pytest.approx(0.01 * 0.5**0.9)
    assert RunFolder(tmp_path).read_summary()["best"]["val/miou"] == pytest.approx(best["val/miou"])


def test_two_runs_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    fit(tmp_path / "a")
    fit(tmp_path / "b")
    assert same_run(tmp_path / "a", tmp_path / "b")


def test_validation_is_periodic_and_last(tmp_path: Path) -> None:
    fit(tmp_path, epochs=5, validate_every=2)
    assert [("val/miou" in row) for row in RunFolder(tmp_path).read_rows()] == [False, True, False, True, True]


@pytest.mark.parametrize(("size", "steps"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_accumulation_counts_the_shorter_last_window(tmp_path: Path, size: int, steps: int) -> None:
    loop = fit(tmp_path, accumulation_steps=size)
    assert loop.progress.step == 2 * steps
    assert loop.training_step.scheduler.last_epoch == 2 * steps


def test_losses_are_lower_is_better(tmp_path: Path) -> None:
    loop = fit(tmp_path, epochs=4, monitor="val/soft_iou")
    rows = RunFolder(tmp_path).read_rows()
    assert loop.progress.best == pytest.approx(min(row["val/soft_iou"] for row in rows))
    with pytest.raises(UserError, match=r"trainer\.monitor=val/mIoU .*did you mean 'val/miou'"):
        fit(tmp_path / "b", monitor="val/mIoU")
    with pytest.raises(UserError, match="train/loss"):
        fit(tmp_path / "c", monitor="train/loss")


def test_a_loss_that_is_not_finite_names_the_samples(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"not finite .*\n.*") as error:
        fit(tmp_path, network=at_step(3, exploding), log_every=2)
    loader = TrainingLoader(Halves(10), Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=0)
    names = [batch.names for batch in loader][2]
    assert f"in the batch of: {', '.join(names)}" in str(error.value)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint["epoch"] == 0
    assert all(t.isfinite().all() for t in checkpoint["model"].values())


def test_a_validation_loss_that_is_not_finite_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The steps of the epoch were finite: only what they led to is not."""

    class ExplodingAtTheEnd(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 if self.training else math.inf)

    fit(tmp_path / "a")
    assert "not finite" not in caplog.text
    fit(tmp_path / "b", network=ExplodingAtTheEnd, epochs=1)
    assert "val/loss is not finite in epoch 1" in caplog.text and "optimizer.lr" in caplog.text


def test_clipping_bounds_the_gradient_and_logs_its_norm(tmp_path: Path) -> None:
    """With plain SGD of rate 1, the weights move by the clipped gradient."""
    notes = Notes()
    loop = fit(tmp_path, grad_clip=0.05, log_every=1, logger=notes)
    norms = [values["step/grad_norm"] for _, values in notes.values if "step/grad_norm" in values]
    assert len(norms) == 10 and max(norms) > 0.05  # measured before it is clipped
    window = next(windows(loop.train, 1, epoch=2))
    step, trained = loop.training_step, list(loop.model.parameters())
    before = [p.detach().clone() for p in trained]
    step.optimizer = torch.optim.SGD(trained, lr=1.0)
    step.scheduler = constant(step.optimizer, 10, 5)
    step(window, 11)
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

    loop = fit(tmp_path, network=Watching, epochs=6, amp=amp)
    assert set(seen) == {(torch.float32, torch.bfloat16 if amp == "bf16" else torch.float16)}
    assert all(p.dtype == torch.float32 for p in loop.model.parameters())
    assert loop.training_step.scaler.is_enabled() == (amp == "fp16")
    assert loop.progress.best > 0.9


def test_a_step_that_the_scaler_skips_does_not_advance_the_schedule(tmp_path: Path) -> None:
    loop = fit(tmp_path, network=at_step(1, with_infinite_gradient), epochs=1, amp="fp16")
    assert loop.progress.step == 5
    assert loop.training_step.scheduler.last_epoch == 4
    assert all(p.isfinite().all() for p in loop.model.parameters())


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


def test_the_averaged_weights_are_validated_and_kept(tmp_path: Path) -> None:
    """best.pt holds weights with which the evaluator gets the value in metrics.csv; those of last.pt are others."""
    loop = fit(tmp_path, epochs=2, ema=True, ema_decay=0.9)
    best, last = (load_checkpoint(tmp_path / "checkpoints" / f"{name}.pt") for name in ("best", "last"))
    assert not torch.equal(best["model"]["layers.0.weight"], last["model"]["layers.0.weight"])
    model = Trainer(epochs=1, device="cpu").prepare(Net())
    model.load_state_dict(best["model"])
    loader = ValidationLoader(Halves(4), batch_size=1, num_workers=0)
    found = evaluate(
        model, None, loader, num_classes=2, device=loop.device, normalization=loop.training_step.normalization
    )
    assert scores(found.confusion).miou == pytest.approx(loop.progress.best)
    assert torch.equal(found.confusion, best["confusion"])


class Stuck(Net):
    """Predicts the same whatever it learns."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out if self.training else out * 0 + torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)


def test_it_stops_when_nothing_gets_better(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        loop = fit(tmp_path, network=Stuck, epochs=50, early_stopping=3)
    assert loop.progress.best_epoch == 1 and loop.progress.epoch == 4
    assert "no better val/miou in 3 epochs: stopped early (trainer.early_stopping=3)" in caplog.text
    again = fit(tmp_path, network=Stuck, epochs=50, early_stopping=3, resume=True)
    assert again.progress.epoch == 4
    further = fit(tmp_path, network=Stuck, epochs=6, resume=True)
    assert further.progress.epoch == 6


def test_early_stopping_waits_for_a_validation(tmp_path: Path) -> None:
    """Validated in epochs 4, 8 and 12: two epochs without a validation say nothing about the metric."""
    loop = fit(tmp_path / "a", network=Stuck, epochs=50, early_stopping=2, validate_every=4)
    assert loop.progress.best_epoch == 4 and loop.progress.epoch == 8
    assert "val/miou" in RunFolder(tmp_path / "a").read_rows()[-1]
    later = fit(tmp_path / "b", network=Stuck, epochs=50, early_stopping=5, validate_every=4)
    assert later.progress.epoch == 12


def test_batch_norm_over_all_processes_is_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(epochs=1, device="cpu", sync_batchnorm=True)  # of one process there is nothing to do
    monkeypatch.setattr("engine.distributed.processes", lambda: 2)
    with pytest.raises(UserError, match="sync_batchnorm=true: PyTorch has it for CUDA devices, not for cpu"):
        Trainer(epochs=1, device="cpu", sync_batchnorm=True)


def test_a_network_that_cannot_be_compiled_trains_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path / "plain", epochs=1)

    def refuse(*_: Any) -> None:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", lambda model: refuse)
    fit(tmp_path / "compiled", epochs=1, compile=True)
    assert "trainer.compile: falls back to eager mode: Net could not be compiled: no compiler found" in caplog.text
    assert same_run(tmp_path / "plain", tmp_path / "compiled")


@pytest.mark.parametrize("options", [{}, {"checkpoint_minutes": 1e-9}])
def test_weights_that_are_spoilt_do_not_replace_good_ones(tmp_path: Path, options: dict) -> None:
    """A finite loss with a gradient that is not, in the last step of the first epoch."""
    with pytest.raises(NonFiniteLoss, match="a weight is NaN or infinite after step 5"):
        fit(tmp_path, network=at_step(5, with_infinite_gradient), **options)
    weights = load_checkpoint(RunFolder(tmp_path).last)["model"]
    assert all(value.isfinite().all() for value in weights.values())
