"""The processes that load samples."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import RawArray
from typing import Any, Literal

import cv2
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import Dataset, get_worker_info

from data.samples import SegmentationDataset
from utils import torchrun
from utils.errors import TOO_MANY_OPEN_FILES, UserError
from utils.memory import keep_freed_memory

NO_SHARED_MEMORY = ("No space left on device", "Cannot allocate memory", "unable to mmap", "File too large")
NO_FILE_HANDLES = ("Too many open files", "ancdata")  # the latter: a file handle was lost on its way


class WatchedSamples(Dataset):
    """Samples that record, for all processes, which worker is reading which.

    Args:
        items: indexed by a sample's number, or a tuple that ends with it.
        samples: to name them.
    """

    def __init__(self, items: Dataset | SegmentationDataset, samples: SegmentationDataset, num_workers: int) -> None:
        self.items, self.samples = items, samples
        self._at = RawArray("q", 2 * max(num_workers, 1))  # of each worker its process id and the sample, or -1

    def __getitem__(self, key: Any) -> Any:
        worker = get_worker_info()
        if worker is None:
            return self.items[key]
        self._at[2 * worker.id] = os.getpid()
        self._at[2 * worker.id + 1] = key[-1] if isinstance(key, tuple) else key
        item = self.items[key]
        self._at[2 * worker.id + 1] = -1
        return item

    def read_by(self, process: int) -> str | None:
        """Return the name and files of the sample that a worker was reading; None if it is unknown."""
        for worker in range(0, len(self._at), 2):
            if self._at[worker] == process and self._at[worker + 1] >= 0:
                index = self._at[worker + 1]
                return ", ".join([self.samples.name(index), *self.samples.files(index)])
        return None


@contextmanager
def explain_dead_workers(watched: Iterable[WatchedSamples]) -> Iterator[None]:
    """Raise a UserError with cause and remedy if a worker dies or cannot hand over a batch.

    PyTorch raises its own error wherever the main process happens to be.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        reason = str(error)
        found = re.search(r"DataLoader worker \(pid(?:\(s\))? (\d+)[^)]*\) ([\w ]+(?:: [\w ]+)?)", reason)
        if any(sign in reason for sign in NO_FILE_HANDLES) or "Pin memory thread exited" in reason:
            raise _handover_failed(reason) from error
        if found is None:
            raise
        sample = next(filter(None, (samples.read_by(int(found[1])) for samples in watched)), None)
        where = f" while it read {sample}" if sample else ""
        raise UserError(
            f"a loader worker {found[2].strip()}{where}; the system mostly does that when memory, or in a container"
            " shared memory (docker run --shm-size=8g), is full: pass a smaller data.num_workers, or 0"
        ) from error


@contextmanager
def end_workers_on_error(loaders: Iterable[Any]) -> Iterator[None]:
    """End the workers of loaders at once if an exception is raised.

    Its traceback holds the iterators. When both are collected as garbage, PyTorch waits 5 s for each worker, because
    the queues that tell it to end are gone by then.
    """
    try:
        yield
    except BaseException:
        for loader in loaders:
            iterator: Any = getattr(loader, "_iterator", None)
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()
        raise


def worker_count(wanted: int | Literal["auto"], device: torch.device) -> int:
    """Return the number of processes that load samples for a network on `device`.

    `auto` is one fewer than the cores of this process (its share of them, if several processes train), or a quarter of
    them if the network runs on the CPU, too; 8 at most.
    """
    if wanted != "auto":
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores //= torchrun.local_processes()
    return min(cores // 4 if device.type == "cpu" else max(cores - 1, 1), 8)


def worker_options(num_workers: int, pin_memory: bool) -> dict[str, Any]:
    """Return arguments for a DataLoader."""
    return {
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        "persistent_workers": num_workers != 0,
        "worker_init_fn": _start_worker,
        # Its own generator: by default a loader draws from the global one, which would shift dropout.
        "generator": torch.Generator(),
    }


def _handover_failed(reason: str) -> UserError:
    """Return the error for a batch that did not reach the main process."""
    if any(sign in reason for sign in NO_FILE_HANDLES):
        return UserError(f"{TOO_MANY_OPEN_FILES}, or pass data.num_workers=0")
    if any(sign in reason for sign in NO_SHARED_MEMORY):
        return UserError(
            "shared memory (/dev/shm) is too small for the batches of the loader workers;"
            " start the container with more (docker run --shm-size=8g), or pass data.num_workers=0"
        )
    return UserError(f"a loader worker could not hand over a batch ({reason}); pass data.num_workers=0")


def _start_worker(_: int) -> None:
    """Set up a worker.

    There are many workers, so OpenCV needs no threads in them. They leave the process group, since Ctrl-C and SIGTERM
    often go to all of it, and the main process still needs its workers then.
    """
    cv2.setNumThreads(0)
    keep_freed_memory()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    sends_failure = property(lambda queue: functools.partial(_send_failure, queue))
    Queue._on_queue_feeder_error = sends_failure  # type: ignore[attr-defined]


def _send_failure(queue: Any, error: Exception, batch: tuple[int, Any]) -> None:
    """Send an error in place of a batch that cannot be sent.

    multiprocessing would print the error and drop the batch, and the main process would wait for it forever.
    """
    failure = _handover_failed(str(error))
    queue.put((batch[0], ExceptionWrapper((type(failure), failure, None), where="in a loader worker")))
