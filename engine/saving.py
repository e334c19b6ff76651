"""When and what a training saves."""

from __future__ import annotations

import math
import time
from typing import Any

from torch import Tensor, nn

from data.labels import LabelSet
from engine.checkpoint_writer import CheckpointWriter
from engine.progress import Progress
from engine.run_record import RunRecord
from engine.training_state import training_state
from engine.training_step import TrainingStep


class Saver:
    """Saves `best.pt`, to use the network, and `last.pt`, to resume the training with the same numbers.

    Args:
        record: names the folder, and describes the run.
        minutes: time between checkpoints within an epoch; None saves only after each epoch.

    Attributes:
        writer: writes the files; a context manager for the time of the training.
        confusion: int64 (C, C) of the last validation, kept in each checkpoint; None before the first.
    """

    def __init__(self, record: RunRecord, step: TrainingStep, labels: LabelSet, minutes: float | None) -> None:
        self.run, self.description = record.run, record.description
        self.step = step
        self.labels = labels
        self.minutes = math.inf if minutes is None else minutes
        self.writer = CheckpointWriter()
        self.confusion: Tensor | None = None
        self._saved_at = time.monotonic()
        self._is_reserved = False

    def is_due(self) -> bool:
        """Whether the last checkpoint is too long ago."""
        return time.monotonic() - self._saved_at > 60 * self.minutes

    def save_best(self, progress: Progress, row: dict[str, float]) -> None:
        """Begin to write `best.pt`, with the metrics of an epoch."""
        if self.run is not None:
            self.writer.save(self.run.best, self._contents(self.step.evaluated, progress, row))

    def save_last(self, progress: Progress, row: dict[str, float] | None = None) -> None:
        """Begin to write `last.pt`. All processes must call it."""
        contents = self._contents_to_resume(progress, row or {})
        if self.run is not None:
            self.writer.save(self.run.last, contents)
        self._saved_at = time.monotonic()

    def reserve(self, progress: Progress) -> None:
        """Reserve the memory to save in, once. Call it after a step, when the optimiser has all its state."""
        if not self._is_reserved:
            contents = self._contents_to_resume(progress, {})
            if self.run is not None:
                self.writer.reserve(self.run.last, contents)
            self._is_reserved = True

    def _contents(self, model: nn.Module, progress: Progress, row: dict[str, float]) -> dict[str, Any]:
        return {
            **self.description,
            "model": model.state_dict(),
            "labels": self.labels.to_dict(),
            "normalization": self.step.normalization.to_dict(),
            "epoch": progress.epoch,
            "metrics": row,
            "confusion": self.confusion,
        }

    def _contents_to_resume(self, progress: Progress, row: dict[str, float]) -> dict[str, Any]:
        return {**self._contents(self.step.model, progress, row), "training": training_state(progress, self.step)}
