"""The trainer: its options, and how it prepares and trains a network."""

from __future__ import annotations

import logging
import math
from typing import Any, TypeVar, cast

import torch
from torch import nn

from data.labels import LabelSet
from data.loading import TrainingLoader, ValidationLoader
from data.workers import end_workers_on_error, explain_dead_workers
from engine import distributed
from engine.device import autocast_dtype, choose_device
from engine.distillation import DISTILLATION_COLUMN
from engine.loop import TrainingLoop
from engine.options import TrainerOptions
from engine.out_of_memory import explain_out_of_memory
from engine.parameter_groups import without_decay_of_norms
from engine.pointwise import compute_with_onednn
from engine.randomness import be_deterministic
from engine.run_record import RunRecord
from engine.threads import may_choose_threads, set_threads
from engine.training_step import Components
from losses.weighted_sum import WeightedSum
from utils.errors import UserError, did_you_mean
from utils.memory import keep_freed_memory, look_for_garbage_as_usual

log = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


class Trainer:
    """Trains networks, each with `fit`.

    Args:
        options: the fields of `TrainerOptions`.

    Attributes:
        autocast: dtype of mixed precision; None for float32.
        adapts_threads: whether the number of CPU threads may change between epochs.

    Raises:
        UserError: the device is not available, or cannot do what is asked for.
        ValueError: an option is unknown, or its value is out of range.
    """

    def __init__(self, **options: Any) -> None:
        self.options = TrainerOptions(**options)
        self.device = choose_device(self.options.device)
        if self.device.type == "cpu" or self.options.threads != "auto":
            set_threads(self.options.threads)
        # Compiled networks have a fixed number of threads.
        self.adapts_threads = (
            self.device.type == "cpu" and not self.options.compile and may_choose_threads(self.options.threads)
        )
        self.autocast = autocast_dtype(self.options.amp, self.device)
        if self.options.sync_batchnorm and self.device.type != "cuda" and distributed.processes() > 1:
            raise UserError(f"trainer.sync_batchnorm=true: PyTorch has it for CUDA devices, not for {self.device}")
        if self.options.deterministic:
            be_deterministic()
            if self.device.type == "cuda":
                log.info("trainer.deterministic=true: the same bits each time, at the cost of slower algorithms")
        elif self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches are of one size: try the algorithms once

    def prepare(self, module: Module) -> Module:
        """Move a network or loss to the device, in the memory layout for training."""
        if self.options.sync_batchnorm and distributed.processes() > 1:
            module = cast(Module, nn.SyncBatchNorm.convert_sync_batchnorm(module))
        if self.device.type == "cpu" and self.options.channels_last:
            compute_with_onednn(module)
        layout = torch.channels_last if self.options.channels_last else torch.contiguous_format
        return module.to(self.device).to(memory_format=layout)

    def parameters_of(self, model: nn.Module) -> list[Any]:
        """Return the parameters for the optimiser to train, or groups of them."""
        if not self.options.decay_norms:
            return list(without_decay_of_norms(model))
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def steps_per_epoch(self, train: TrainingLoader) -> int:
        """Return the number of optimiser steps in an epoch of this loader."""
        return math.ceil(len(train) / self.options.accumulation_steps)

    def metric_columns(self, loss: WeightedSum, labels: LabelSet, distils: bool = False) -> list[str]:
        """Return the columns of metrics.csv, in their order.

        Args:
            distils: whether there is a teacher.

        Raises:
            UserError: `monitor` is not one of them.
        """
        losses = ["loss", *loss.names]
        columns = [
            *("epoch", "step", "lr"),
            *(f"train/{name}" for name in losses),
            *([f"train/{DISTILLATION_COLUMN}"] if distils else []),
            *(f"val/{name}" for name in losses),
            *("val/miou", "val/dice", "val/pixel_accuracy"),
            *(f"val/iou/{name}" for name in labels.names),
            *("images_per_second", "seconds"),
        ]
        monitor = self.options.monitor
        choices = [column for column in columns if column.startswith("val/")]
        if monitor not in choices:
            hint = did_you_mean(monitor, choices)
            raise UserError(f"trainer.monitor={monitor} is none of {', '.join(choices)}{hint}")
        return columns

    def fit(
        self,
        components: Components,
        train: TrainingLoader,
        validation: ValidationLoader,
        record: RunRecord,
        resume_from: dict[str, Any] | None = None,
    ) -> TrainingLoop:
        """Train a network in place, and return the loop that has run.

        Args:
            record: gets the metrics, and names the folder for the checkpoints.
            resume_from: contents of a `last.pt`.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; `last.pt` holds the state of that moment.
            NonFiniteLoss: names the samples of the batch.
            LostProcess: another process has ended.
            UserError: a sample cannot be read, or there is too little memory.
        """
        with distributed.explain_lost_process():
            loop = TrainingLoop(self, components, train, validation, record)
            look_for_garbage_as_usual()
            if self.device.type == "cpu":
                keep_freed_memory()
            with (
                explain_out_of_memory(
                    train.order.batch_size, train.image_size, self.device, self.options.accumulation_steps
                ),
                explain_dead_workers([train.watched, validation.watched]),
                end_workers_on_error([train, validation]),
                loop.saver.writer,
                loop.stop,
            ):
                loop.run(resume_from)
        return loop
