"""The training loop."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.device_loading import AnyTrainingLoader, AnyValidationLoader
from data.labels import LabelSet
from data.loading import TrainingBatch
from data.workers import deaths_named
from engine import distributed, out_of_memory
from engine.checkpoint import load_weights
from engine.device import autocast_dtype, choose_device
from engine.evaluator import Evaluation, evaluate
from engine.metrics import scores
from engine.normalization import normalization_of
from engine.parameter_groups import without_decay_of_norms
from engine.progress import Progress, progress_title
from engine.randomness import be_deterministic
from engine.run_record import RunRecord
from engine.running_loss import REMEDY, NonFiniteLoss, RunningLoss
from engine.training_state import restore_training_state, training_state
from engine.training_step import Components, TrainingStep
from losses.weighted_sum import WeightedSum
from utils.errors import UserError, did_you_mean
from utils.interruption import Interrupted, StopRequest, WaitEnded
from utils.memory import keep_freed_memory
from utils.run_folder import metric_columns
from utils.tables import epoch_table

log = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


class Trainer:
    """Trains a network, validates it now and then, and keeps its best and last checkpoint.

    Args:
        epochs: passes over the training split.
        device: `auto`, `cpu`, `cuda` or `mps`.
        amp: mixed precision: `auto`, `off`, `fp16` or `bf16`.
        channels_last: memory layout of weights and images; mostly faster on CPU and with mixed precision.
        accumulation_steps: micro-batches to one optimiser step; the last step of an epoch may have fewer.
        grad_clip: largest norm of the gradient of a step; None does not clip.
        validate_every: epochs between validations; the last epoch always validates.
        monitor: column of metrics.csv that decides which checkpoint is best; losses are best when small.
        log_every: optimiser steps between readings of the loss, which wait for the device.
        ema: validate, and keep as best, an exponential moving average of the weights.
        ema_decay: how much of the average stays at each step.
        early_stopping: end after so many epochs without a better value of the monitored metric; None does not.
        checkpoint_minutes: minutes between checkpoints within an epoch; None writes one after each epoch alone.
        decay_norms: weight decay for biases and the scales of norms too, as optimisers do if not told otherwise.
        compile: have torch.compile translate the network; where it cannot, train without.
        sync_batchnorm: of several processes on CUDA devices, have batch norm see all their images at once.
        deterministic: choose algorithms on CUDA that give the same bits each time, some of them slower.

    Raises:
        UserError: the device is not there, or cannot do what is asked for.
        ValueError: a number that is out of its range.
    """

    def __init__(
        self,
        epochs: int,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        amp: Literal["auto", "off", "fp16", "bf16"] = "auto",
        channels_last: bool = True,
        accumulation_steps: int = 1,
        grad_clip: float | None = None,
        validate_every: int = 1,
        monitor: str = "val/miou",
        log_every: int = 10,
        ema: bool = False,
        ema_decay: float = 0.999,
        early_stopping: int | None = None,
        checkpoint_minutes: float | None = 10.0,
        decay_norms: bool = True,
        compile: bool = False,
        sync_batchnorm: bool = False,
        deterministic: bool = False,
    ) -> None:
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay={ema_decay}: must be 0 or more and less than 1")
        self.epochs = epochs
        self.device = choose_device(device)
        self.autocast = autocast_dtype(amp, self.device)
        self.channels_last = channels_last
        self.accumulation_steps = accumulation_steps
        self.grad_clip = grad_clip
        self.validate_every = validate_every
        self.monitor = monitor
        self.log_every = log_every
        self.ema_decay = ema_decay if ema else None
        self.early_stopping = early_stopping
        self.checkpoint_minutes = checkpoint_minutes
        self.decay_norms = decay_norms
        self.compile = compile
        if sync_batchnorm and self.device.type != "cuda" and distributed.processes() > 1:
            raise UserError(f"trainer.sync_batchnorm=true: PyTorch has it for CUDA devices, not for {self.device}")
        self.sync_batchnorm = sync_batchnorm
        if deterministic:
            be_deterministic()
            if self.device.type == "cuda":
                log.info("trainer.deterministic=true: the same bits each time, at the cost of slower algorithms")
        elif self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches are of one size: try the algorithms once

    def prepare(self, module: Module) -> Module:
        """Moves a network or loss to the device, in the memory layout that training uses."""
        if self.sync_batchnorm and distributed.processes() > 1:
            module = cast(Module, nn.SyncBatchNorm.convert_sync_batchnorm(module))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device).to(memory_format=layout)

    def parameters_of(self, model: nn.Module) -> list[Any]:
        """What the optimiser is to train: parameters, or groups of them."""
        if not self.decay_norms:
            return list(without_decay_of_norms(model))
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def steps_per_epoch(self, train: AnyTrainingLoader) -> int:
        """Optimiser steps in an epoch of this loader."""
        return math.ceil(len(train) / self.accumulation_steps)

    def training_step(self, components: Components) -> TrainingStep:
        """Build the object that takes optimiser steps, of a network and loss as `prepare` returns them."""
        return TrainingStep(
            components,
            normalization_of(components.model),
            device=self.device,
            autocast=self.autocast,
            channels_last=self.channels_last,
            grad_clip=self.grad_clip,
            ema_decay=self.ema_decay,
            compile=self.compile,
        )

    def metric_columns(self, loss: WeightedSum, labels: LabelSet) -> list[str]:
        """The columns of metrics.csv, in their order.

        Raises:
            UserError: `monitor` is none of them.
        """
        columns = metric_columns(loss.names, labels.names)
        choices = [column for column in columns if column.startswith("val/")]
        if self.monitor not in choices:
            hint = did_you_mean(self.monitor, choices)
            raise UserError(f"trainer.monitor={self.monitor} is none of {', '.join(choices)}{hint}")
        return columns

    def fit(
        self,
        components: Components,
        train: AnyTrainingLoader,
        validation: AnyValidationLoader,
        record: RunRecord,
        resume_from: dict[str, Any] | None = None,
    ) -> Progress:
        """Train a network in place.

        Args:
            record: gets the metrics and checkpoints.
            resume_from: the contents of a `last.pt` to resume from.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; `last.pt` holds the state of that moment.
            NonFiniteLoss: names the samples of the batch.
            LostProcess: another process has ended.
            UserError: a sample cannot be read, or there is too little memory.
        """
        self.model, self.loss = components.model, components.loss
        self.train, self.validation, self.labels = train, validation, validation.labels
        self.record, self.normalization = record, normalization_of(components.model)
        self.last_validation: Evaluation | None = None
        self.saved = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(distributed.losses_named())
            self.step = self.training_step(components)
            self.progress = Progress()
            if resume_from is not None:
                self._restore(resume_from)
            self.first_step = self.progress.step + 1  # since the run was started or resumed
            if self.device.type == "cpu":
                keep_freed_memory()
            size, steps = train.order.batch_size, self.accumulation_steps
            stack.enter_context(out_of_memory.advised(size, train.image_size, self.device, steps))
            stack.enter_context(deaths_named([train.watched, validation.watched]))
            stack.enter_context(record)
            self.stop = stack.enter_context(StopRequest(patient=distributed.processes() > 1))
            self.record.begin(self.progress)
            if resume_from is None:
                self._save_last()
            try:
                while self.progress.epoch < self.epochs and not self._has_stalled():
                    self._run_epoch()
            except WaitEnded:
                self._interrupt(cast(int, self.stop.signal))
        return self.progress

    def _has_stalled(self) -> bool:
        """Whether `early_stopping` says that it is enough."""
        since = self.progress.epoch - self.progress.best_epoch
        if self.early_stopping is None or self.progress.best_epoch == 0 or since < self.early_stopping:
            return False
        log.info("no better %s in %d epochs: stopped early", self.monitor, since)
        return True

    def _run_epoch(self) -> None:
        """Trains for what is left of an epoch, validates if it is time to, and saves."""
        started, epoch = time.perf_counter(), self.progress.epoch + 1
        order = self.train.order
        images = order.samples - self.progress.batch * order.batch_size
        losses = self._train_epoch(epoch)
        elapsed = time.perf_counter() - started
        row = {
            "epoch": epoch,
            "step": self.progress.step,
            "lr": self.step.optimizer.param_groups[0]["lr"],
            **{f"train/{name}": value for name, value in losses.items()},
            "images_per_second": images / elapsed if images > 0 else math.nan,
        }
        self._check_finite()
        if epoch % self.validate_every == 0 or epoch == self.epochs:
            row |= self._validate(epoch)
        row["seconds"] = time.perf_counter() - started
        improved = self.monitor in row and self._is_best(row[self.monitor])
        if improved:
            self.progress.best, self.progress.best_epoch = row[self.monitor], epoch
        self.progress.epoch, self.progress.batch = epoch, 0
        self.step.running = RunningLoss(self.loss, self.device)
        self.record.add_row(row)
        if improved:
            self.record.save_best(self._checkpoint(row, self.step.evaluated))
        self._save_last(row)
        self.record.show(row, improved, self.step.evaluated)
        if "val/loss" in row:
            recent = [row["seconds"] for row in self.record.rows[-self.validate_every :]]
            seconds = sum(recent) / len(recent)
            log.info("\n%s", epoch_table(row, progress_title(self.progress, self.epochs, self.monitor, seconds)))

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """The optimiser steps of an epoch, from `progress.batch` on; returns its losses by name."""
        order = self.train.order
        order.epoch, order.start = epoch - 1, self.progress.batch
        self.model.train()
        with self._bar(f"epoch {epoch}/{self.epochs}", order.samples) as bar:
            bar.update(min(self.progress.batch * order.batch_size, order.samples))
            for window in windows_of(self.stop.answering(self.train), self.accumulation_steps):
                counted = len(range(self.progress.batch + distributed.rank(), order.batches, distributed.processes()))
                norm = self.step(window, min(counted, len(window)), self.progress.step + 1)
                self.progress.step += 1
                if self.progress.step == self.first_step:  # now that the optimiser has all its state
                    self.record.rehearse(self._checkpoint_to_resume({}))
                self.progress.batch = min(self.progress.batch + len(window) * distributed.processes(), order.batches)
                bar.update(min(self.progress.batch * order.batch_size, order.samples) - bar.n)
                if self.progress.step % self.log_every == 0:
                    self._log_step(bar, norm)
                self._answer_requests()
        return self.step.running.read_all()

    def _answer_requests(self) -> None:
        """Stops if that was asked for, and saves if it is time to; all processes do the same."""
        self.record.check()
        due = time.monotonic() - self.saved > 60 * (self.checkpoint_minutes or math.inf)
        signal, due_somewhere = distributed.highest(self.stop.signal or 0, int(due))
        if signal:
            self._interrupt(signal)
        if due_somewhere:
            self._check_finite()
            self._save_last()

    def _check_finite(self) -> None:
        """Before a checkpoint: weights that are spoilt must not replace good ones.

        Raises:
            NonFiniteLoss: a loss since the last look, or a weight, is NaN or infinite.
        """
        self.step.running.read()
        norms = torch._foreach_norm([parameter.detach() for parameter in self.model.parameters()])
        if not torch.stack(norms).isfinite().all():
            raise NonFiniteLoss(
                f"a weight is no longer finite after step {self.progress.step}, as a gradient was\n{REMEDY}"
            )

    def _bar(self, title: str, total: int) -> tqdm:
        quiet = distributed.rank() > 0
        return tqdm(total=total, desc=title, unit="img", leave=False, dynamic_ncols=True, disable=quiet)

    def _log_step(self, bar: tqdm, norm: Tensor | None) -> None:
        loss = self.step.running.read()["loss"]
        bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        values = {"step/lr": self.step.optimizer.param_groups[0]["lr"]}
        if not math.isnan(loss):  # no labelled pixel so far
            values["step/loss"] = loss
        if norm is not None:
            values["step/grad_norm"] = norm.item()
        self.record.log(values, self.progress.step)

    def _validate(self, epoch: int) -> dict[str, float]:
        """The validation columns of the epoch's row."""
        bar = self._bar(f"validation {epoch}/{self.epochs}", self.validation.samples)

        def after_batch(images: int) -> None:
            bar.update(min(images * distributed.processes(), self.validation.samples - bar.n))
            (signal,) = distributed.highest(self.stop.signal or 0)
            if signal:
                self._interrupt(signal)

        distributed.equal_buffers(self.step.evaluated)
        with bar:
            result = evaluate(
                self.step.evaluated,
                self.loss,
                self.stop.answering(self.validation),
                num_classes=len(self.labels),
                device=self.device,
                normalization=self.normalization,
                autocast=self.autocast,
                channels_last=self.channels_last,
                after_batch=after_batch,
            )
        self.last_validation = result
        found = scores(result.confusion)
        return {
            **{f"val/{name}": value for name, value in result.losses.items()},
            "val/miou": found.miou,
            "val/dice": found.mean_dice,
            "val/pixel_accuracy": found.pixel_accuracy,
            **{f"val/iou/{n}": v for n, v in zip(self.labels.names, found.iou.tolist(), strict=True)},
        }

    def _is_best(self, value: float) -> bool:
        best = self.progress.best
        smaller_is_better = self.monitor in {f"val/{name}" for name in ("loss", *self.loss.names)}
        return math.isnan(best) or (value < best if smaller_is_better else value > best)

    def _interrupt(self, signal: int) -> None:
        self._check_finite()
        self._save_last()
        self.record.wait()
        raise Interrupted(signal)

    def _checkpoint(self, row: dict[str, float], model: nn.Module) -> dict[str, Any]:
        """What every checkpoint holds: enough to use the network without anything else."""
        return {
            **self.record.description,
            "model": model.state_dict(),
            "labels": self.labels.to_dict(),
            "normalization": self.normalization.to_dict(),
            "epoch": self.progress.epoch,
            "metrics": row,
            "confusion": None if self.last_validation is None else self.last_validation.confusion,
        }

    def _save_last(self, row: dict[str, float] | None = None) -> None:
        """Writes `last.pt`, from which the training goes on with the same numbers."""
        self.record.save_last(self._checkpoint_to_resume(row or {}))
        self.saved = time.monotonic()

    def _checkpoint_to_resume(self, row: dict[str, float]) -> dict[str, Any]:
        return {**self._checkpoint(row, self.model), "training": training_state(self.progress, self.step)}

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `_save_last`."""
        load_weights(self.model, checkpoint["model"])
        saved = checkpoint["training"]["progress"]
        window = self.accumulation_steps * distributed.processes()
        steps_done = saved["epoch"] * self.steps_per_epoch(self.train) + saved["batch"] // window
        self.progress = restore_training_state(checkpoint["training"], self.step, steps_done)


def windows_of(batches: Iterable[TrainingBatch], size: int) -> Iterator[list[TrainingBatch]]:
    """Batches in lists of `size`, the last one possibly shorter."""
    iterator = iter(batches)
    while window := list(itertools.islice(iterator, size)):
        yield window
