"""The training loop: epochs of optimiser steps, validation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from data.accumulation import windows
from data.loading import TrainingLoader, ValidationLoader
from engine import distributed
from engine.checkpoint import load_weights
from engine.evaluator import evaluate
from engine.metrics import scores
from engine.progress import ImageBar, Progress, progress_title
from engine.run_record import RunRecord
from engine.running_loss import REMEDY
from engine.saving import Saver
from engine.threads import adapt_threads, load_so_far
from engine.training_state import restore_training_state
from engine.training_step import Components, TrainingStep
from utils.errors import Pruned
from utils.interruption import Interrupted, StopRequest, WaitEnded
from utils.tables import epoch_line, epoch_table
from utils.text import plural

if TYPE_CHECKING:
    from engine.trainer import Trainer

log = logging.getLogger(__name__)


class TrainingLoop:
    """One training, which every process runs. `run` goes through all epochs.

    Args:
        components: trained in place.
        record: gets the metrics.

    Attributes:
        progress: epochs and steps done, and the best metric.
        step: takes the optimiser steps.
        saver: saves checkpoints, and keeps the confusion matrix of the last validation for them.
        stop: context manager that notes Ctrl-C and SIGTERM.
    """

    def __init__(
        self,
        trainer: Trainer,
        components: Components,
        train: TrainingLoader,
        validation: ValidationLoader,
        record: RunRecord,
    ) -> None:
        self.options = trainer.options
        self.device = trainer.device
        self.model = components.model
        self.loss = components.loss
        self.train = train
        self.validation = validation
        self.labels = validation.labels
        self.record = record
        self.steps_per_epoch = trainer.steps_per_epoch(train)
        self.training_step = TrainingStep(components, trainer.options, trainer.device)
        self.saver = Saver(record, self.training_step, self.labels, self.options.checkpoint_minutes)
        self.stop = StopRequest(patient=distributed.processes() > 1)
        self.progress = Progress()
        self._cpu_load = load_so_far() if trainer.adapts_threads else None

    def run(self, resume_from: dict[str, Any] | None = None) -> None:
        """Train until all epochs are done or the metric stops improving.

        Args:
            resume_from: contents of a `last.pt`.

        Raises:
            Pruned: the record ends the training.
        """
        if resume_from is not None:
            self._restore(resume_from)
        self.record.begin(self.progress)
        if resume_from is None:
            self.saver.save_last(self.progress)
        try:
            while self.progress.epoch < self.options.epochs and not self._has_stalled():
                self._run_epoch()
        except WaitEnded:  # a signal came while the next batch was awaited
            self._save_and_stop(self.stop.signal or 0)

    def _run_epoch(self) -> None:
        """Train for the rest of an epoch, validate if it is time, and save."""
        started = time.perf_counter()
        epoch = self.progress.epoch + 1
        images = self.train.order.samples - self.train.order.images_before(self.progress.batch)
        self.training_step.freeze_encoder(epoch <= self.options.freeze_encoder_epochs)
        self._adapt_threads()
        losses = self._train_epoch(epoch)
        elapsed = time.perf_counter() - started
        row = {
            "epoch": epoch,
            "step": self.progress.step,
            "lr": self.training_step.learning_rate,
            **{f"train/{name}": value for name, value in losses.items()},
            "images_per_second": images / elapsed if images > 0 else math.nan,
        }
        self.training_step.check_finite(self.progress.step)
        if epoch % self.options.validate_every == 0 or epoch == self.options.epochs:
            row |= self._validate(epoch)
        row["seconds"] = time.perf_counter() - started
        self._finish_epoch(epoch, row)

    def _adapt_threads(self) -> None:
        """With `trainer.threads=auto`, leave the cores that other programs use to them."""
        if self._cpu_load is None:
            return
        before = torch.get_num_threads()
        self._cpu_load = adapt_threads(self._cpu_load)
        if torch.get_num_threads() != before:
            self.record.forget_threads()

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """Take the optimiser steps of an epoch, starting at `progress.batch`, and return its losses by name."""
        order, size = self.train.order, self.options.accumulation_steps
        self.model.train()
        with ImageBar(f"epoch {epoch}/{self.options.epochs}", order.samples) as bar:
            bar.move_to(order.images_before(self.progress.batch))
            for window in self.stop.interruptible(windows(self.train, size, epoch - 1, self.progress.batch)):
                gradient_norm = self.training_step(window, self.progress.step + 1)
                self.progress.step += 1
                self.progress.batch = window.batches_done
                bar.move_to(window.images_done)
                if self.progress.step % self.options.log_every == 0:
                    self._log_step(bar, gradient_norm)
                self._save_or_stop()
        return self.training_step.running.read_all()

    def _log_step(self, bar: ImageBar, gradient_norm: Tensor | None) -> None:
        """Log the loss so far, the learning rate and the gradient's norm. Waits for the device."""
        loss = self.training_step.running.read()["loss"]
        bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        values = {"step/lr": self.training_step.learning_rate}
        if not math.isnan(loss):  # NaN: no labelled pixel so far
            values["step/loss"] = loss
        if gradient_norm is not None:
            values["step/grad_norm"] = gradient_norm.item()
        self.record.log(values, self.progress.step)

    def _save_or_stop(self) -> None:
        """Save if it is time, or stop if any process has received a signal. All processes do the same."""
        self.saver.writer.check()
        self.saver.reserve(self.progress)
        signal, is_due = distributed.maxima(self.stop.signal or 0, int(self.saver.is_due()))
        if signal:
            self._save_and_stop(signal)
        if is_due:
            self.training_step.check_finite(self.progress.step)
            self.saver.save_last(self.progress)

    def _save_and_stop(self, signal: int) -> NoReturn:
        self.training_step.check_finite(self.progress.step)
        self.saver.save_last(self.progress)
        self.saver.writer.wait()
        raise Interrupted(signal)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Measure the network on the validation split, and return the columns `val/...` of the epoch's row."""
        done = 0
        bar = ImageBar(f"validation {epoch}/{self.options.epochs}", self.validation.samples)

        def after_batch(images: int) -> None:
            nonlocal done
            done = min(done + images * distributed.processes(), self.validation.samples)
            bar.move_to(done)
            (signal,) = distributed.maxima(self.stop.signal or 0)
            if signal:
                self._save_and_stop(signal)

        distributed.broadcast_buffers(self.training_step.evaluated)
        with bar:
            result = evaluate(
                self.training_step.evaluated,
                self.loss,
                self.stop.interruptible(self.validation),
                num_classes=len(self.labels),
                device=self.device,
                normalization=self.training_step.normalization,
                autocast=self.training_step.autocast,
                channels_last=self.options.channels_last,
                after_batch=after_batch,
            )
        if not math.isfinite(result.losses["loss"]):
            log.warning("val/loss is not finite in epoch %d: an output of the network is not. %s", epoch, REMEDY)
        self.saver.confusion = result.confusion
        found = scores(result.confusion)
        return {
            **{f"val/{name}": value for name, value in result.losses.items()},
            "val/miou": found.miou,
            "val/dice": found.mean_dice,
            "val/pixel_accuracy": found.pixel_accuracy,
            **{f"val/iou/{name}": iou for name, iou in zip(self.labels.names, found.iou.tolist(), strict=True)},
        }

    def _finish_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Save the checkpoints of an epoch, then log its row of metrics.csv."""
        monitor = self.options.monitor
        improved = monitor in row and self._is_best(row[monitor])
        if improved:
            self.progress.best = row[monitor]
            self.progress.best_epoch = epoch
        self.progress.epoch = epoch
        self.progress.batch = 0
        self.training_step.reset_losses()
        self.record.add_row(row)
        if improved:
            self.saver.save_best(self.progress, row)
        self.saver.save_last(self.progress, row)
        self.record.show(row, improved, self.training_step.evaluated)
        recent = [each["seconds"] for each in self.record.rows[-self.options.validate_every :]]
        title = progress_title(self.progress, self.options.epochs, monitor, sum(recent) / len(recent))
        table = f"\n{epoch_table(row, title)}" if "val/loss" in row else None
        log.info("%s", epoch_line(row, title), extra={"for_terminal": table})
        if monitor in row and self.record.is_pruned is not None and self.record.is_pruned(epoch, row[monitor]):
            self.saver.writer.wait()
            raise Pruned(f"pruned after epoch {epoch}: other jobs of the search have a better {monitor} by then")

    def _is_best(self, value: float) -> bool:
        best = self.progress.best
        smaller_is_better = self.options.monitor in {f"val/{name}" for name in ("loss", *self.loss.names)}
        return math.isnan(best) or (value < best if smaller_is_better else value > best)

    def _has_stalled(self) -> bool:
        """Whether the last epoch's validation found no improvement in `early_stopping` epochs."""
        since = self.progress.epoch - self.progress.best_epoch
        patience = self.options.early_stopping
        if patience is None or self.progress.best_epoch == 0 or since < patience:
            return False
        if self.progress.epoch % self.options.validate_every:  # the weights may be better than the metric says
            return False
        log.info(
            "no better %s in %s: stopped early (trainer.early_stopping=%d)",
            *(self.options.monitor, plural(since, "epoch"), patience),
        )
        return True

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `Saver.save_last` saved."""
        load_weights(self.model, checkpoint["model"])
        saved = checkpoint["training"]["progress"]
        batches_per_step = self.options.accumulation_steps * distributed.processes()
        steps_done = saved["epoch"] * self.steps_per_epoch + saved["batch"] // batches_per_step
        self.progress = restore_training_state(checkpoint["training"], self.training_step, steps_done)
