"""Batches grouped by optimiser step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from data.loading import TrainingBatch, TrainingLoader


@dataclass(frozen=True)
class Window:
    """The micro-batches of one optimiser step, in this process.

    Attributes:
        counted: how many of them count, from the first; the rest are repetitions. All processes need the same number of
            micro-batches, so one that has none left at the end of an epoch repeats one.
        batches_done, images_done: how much of the epoch is done after this step, over all processes.
    """

    batches: list[TrainingBatch]
    counted: int
    batches_done: int = 0
    images_done: int = 0


def windows(loader: TrainingLoader, size: int, epoch: int, start: int = 0) -> Iterator[Window]:
    """Yield the windows of an epoch, each of `size` micro-batches; the last may have fewer.

    Args:
        epoch: counted from 0.
        start: how many batches of the epoch, over all processes, to skip.
    """
    order = loader.order
    order.epoch = epoch
    order.start = start
    rank, processes = order.share
    batches, done = iter(loader), start
    while window := list(itertools.islice(batches, size)):
        counted = len(range(done + rank, order.batches, processes))
        done = min(done + len(window) * processes, order.batches)
        yield Window(window, min(counted, len(window)), done, order.images_before(done))
