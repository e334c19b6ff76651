"""The processes that load samples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray
from typing import Any, Literal

import cv2
import torch
from torch.utils.data import Dataset, get_worker_info

from data.samples import SegmentationDataset
from utils import torchrun
from utils.errors import UserError
from utils.memory import keep_freed_memory


class WatchedSamples(Dataset):
    """Samples of which it is known, to all processes, which worker is reading which.

    Args:
        items: indexed by a sample's number, or a tuple that ends with it.
        samples: to name them.
    """

    def __init__(self, items: Dataset, samples: SegmentationDataset, num_workers: int) -> None:
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
        """The name and files of the sample that a worker was reading, None where that is not known."""
        for worker in range(0, len(self._at), 2):
            if self._at[worker] == process and self._at[worker + 1] >= 0:
                index = self._at[worker + 1]
                return ", ".join([self.samples.name(index), *self.samples.files(index)])
        return None


@contextmanager
def deaths_named(watched: Iterable[WatchedSamples]) -> Iterator[None]:
    """Tells what a worker was reading when the system killed it, and what helps.

    PyTorch raises its error wherever the main process happens to be.

    Raises:
        UserError: in place of PyTorch's error.
    """
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"DataLoader worker \(pid(?:\(s\))? (\d+)[^)]*\) ([\w ]+(?:: [\w ]+)?)", str(error))
        if found is None:
            raise
        sample = next(filter(None, (samples.read_by(int(found[1])) for samples in watched)), None)
        where = f" while it read {sample}" if sample else ""
        raise UserError(
            f"a loader worker {found[2].strip()}{where}; the system mostly does that when memory, or in a container"
            " shared memory (--shm-size), is full: say a smaller data.num_workers"
        ) from error


def worker_count(wanted: int | Literal["auto"], device: torch.device) -> int:
    """How many processes load samples for a network that computes on `device`.

    `auto`: one fewer than the cores this process may use (or its share of them, of
    several processes that train); a quarter of them where the network itself computes
    on the CPU, since a worker then takes from it what it gives. 8 at most.
    """
    if wanted != "auto":
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores //= torchrun.local_processes()
    return min(cores // 4 if device.type == "cpu" else max(cores - 1, 1), 8)


def worker_options(num_workers: int, pin_memory: bool) -> dict[str, Any]:
    """Arguments of a DataLoader."""
    return {
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        "persistent_workers": num_workers != 0,
        "worker_init_fn": _start_worker,
        # Its own generator: by default a loader draws from the global one, which would shift dropout.
        "generator": torch.Generator(),
    }


def _start_worker(_: int) -> None:
    """Workers are many already, so OpenCV needs no threads in them.

    They leave the process group, since Ctrl-C and SIGTERM often go to the whole of it: the main process answers,
    and still needs its workers to end in order.
    """
    cv2.setNumThreads(0)
    keep_freed_memory()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
