"""How far a training has come."""

from __future__ import annotations

import math
from dataclasses import dataclass

from utils.tables import duration, number


@dataclass
class Progress:
    """
    Attributes:
        epoch: finished epochs, validation included.
        batch: micro-batches done in the epoch after those.
        step: optimiser steps done.
        best: best value of the monitored metric, NaN before the first validation.
        best_epoch: the epoch it was reached in, counted from 1.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = math.nan
    best_epoch: int = 0


def progress_title(progress: Progress, epochs: int, monitor: str, seconds: float) -> str:
    """How far the run is, how good it was at best, and how long the rest will take at so many seconds an epoch."""
    left = seconds * (epochs - progress.epoch)
    best = f"best {monitor} {number(progress.best)} (epoch {progress.best_epoch})"
    return f"epoch {progress.epoch}/{epochs}, {best}{f', {duration(left)} left' if left else ''}"
