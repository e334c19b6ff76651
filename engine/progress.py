"""How far a training has come, in numbers and as a bar."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tqdm import tqdm

from engine import distributed
from utils.tables import duration, number


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: finished epochs, including validation.
        batch: micro-batches done in the current epoch, over all processes.
        step: optimiser steps done.
        best: best value of the monitored metric, NaN before the first validation.
        best_epoch: the epoch it was reached in, counted from 1.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = math.nan
    best_epoch: int = 0


class ImageBar(tqdm):
    """A progress bar that counts the images of all processes. The first process shows it if it has a terminal."""

    def __init__(self, title: str, images: int) -> None:
        super().__init__(
            total=images,
            desc=title,
            unit="img",
            leave=False,
            dynamic_ncols=True,
            disable=True if distributed.rank() > 0 else None,  # None: unless stderr is a terminal
        )

    def move_to(self, images: int) -> None:
        """Show that this many images are done."""
        self.update(images - self.n)


def progress_title(progress: Progress, epochs: int, monitor: str, seconds: float) -> str:
    """Return epochs done, best value so far, and the time left at this many seconds per epoch."""
    left = seconds * (epochs - progress.epoch)
    best = f", best {monitor} {number(progress.best)} (epoch {progress.best_epoch})" if progress.best_epoch else ""
    return f"epoch {progress.epoch}/{epochs}{best}{f', {duration(left)} left' if left else ''}"
