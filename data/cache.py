"""Keep decoded and resized samples from one epoch, or run, to the next."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import weakref
import zlib
from multiprocessing import parent_process, resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from data.cache_files import cache_home, cache_key
from data.resized import ResizedSamples
from data.samples import Sample, View
from utils.errors import UserError
from utils.text import plural

log = logging.getLogger(__name__)

CHECKSUM = 4  # bytes
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; often small in a container


class CachedSamples(View):
    """Samples that are read once; all processes that load them fill and share one store.

    A slot of the store holds a checksum, an image and its mask. A slot that was only half written is written again.
    Two processes that fill one slot write the same bytes.

    Args:
        samples: what to keep.
        where: `ram`, shared memory until the process ends; or `disk`, a memory-mapped file that other runs of the same
            data use, too.

    Raises:
        UserError: there is no room.
    """

    def __init__(self, samples: ResizedSamples, where: Literal["ram", "disk"]) -> None:
        super().__init__(samples)
        self.reads_parts = False
        self._mask_sizes = np.array([samples.size(index) for index in range(len(samples))], np.int64).reshape(-1, 2)
        self._image_sizes = self._mask_sizes
        if samples.image_size is not None:
            self._image_sizes = np.broadcast_to(np.array(samples.image_size, np.int64), self._mask_sizes.shape)
        dtype = np.dtype(self.bands.dtype)
        self._image_bytes = dtype.itemsize * self.bands.channels * self._image_sizes.prod(1)
        self._ends = np.cumsum(CHECKSUM + self._image_bytes + self._mask_sizes.prod(1))
        total = int(self._ends[-1])
        self._store = InMemory(total) if where == "ram" else OnDisk(total, cache_key(samples))
        size = f"{plural(len(samples), 'sample')}, {total / 1e9:.2f} GB"
        log.info("data.cache=%s: %s, in %s", where, size, self._store)

    def __getitem__(self, index: int) -> Sample:
        start, middle = self._ends[index - 1] if index else 0, self._image_bytes[index]
        slot = self._store.bytes[start : self._ends[index]]
        pixels = slot[CHECKSUM:]
        if slot[:CHECKSUM].tobytes() != checksum(pixels):
            sample = self.dataset[index]
            pixels[:middle] = np.ascontiguousarray(sample.image).view(np.uint8).ravel()
            pixels[middle:] = sample.mask.ravel()
            slot[:CHECKSUM] = np.frombuffer(checksum(pixels), np.uint8)
            return sample
        # Copies, so that nothing that works in place changes what is kept.
        image = pixels[:middle].copy().view(self.bands.dtype)
        image = image.reshape(*self._image_sizes[index], self.bands.channels)
        return Sample(image, pixels[middle:].reshape(self._mask_sizes[index]).copy(), self.name(index))

    def mask(self, index: int) -> np.ndarray:
        return self[index].mask

    def size(self, index: int) -> tuple[int, int]:
        height, width = self._mask_sizes[index].tolist()
        return height, width


class InMemory:
    """A store in shared memory.

    Attributes:
        bytes: what is kept, uint8 (total,); zeros at first.
    """

    def __init__(self, total: int) -> None:
        free = psutil.virtual_memory().available
        if SHARED_MEMORY.is_dir():
            free = min(free, shutil.disk_usage(SHARED_MEMORY).free)
        room = "memory (in a container, see its --shm-size)"
        _check_room("ram", total, free, room)
        self.memory = SharedMemory(create=True, size=total)
        weakref.finalize(self, _unlink, self.memory, os.getpid())
        if SHARED_MEMORY.is_dir():
            _reserve(SHARED_MEMORY / self.memory.name, "ram", total, room)
        self.bytes = np.ndarray(self.memory.size, np.uint8, self.memory.buf)

    def __str__(self) -> str:
        return "memory"

    def __getstate__(self) -> dict[str, Any]:
        return {"memory": self.memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.memory = state["memory"]
        if parent_process() is None:  # started by torchrun: its tracker would delete the memory of another process
            resource_tracker.unregister(f"/{self.memory.name}", "shared_memory")
        self.bytes = np.ndarray(self.memory.size, np.uint8, self.memory.buf)


class OnDisk:
    """A store in a file that is named by the key of the samples; attributes as for `InMemory`."""

    def __init__(self, total: int, name: str) -> None:
        home = cache_home()
        self.path, room = home / f"{name}.bin", f"space in {home}"
        try:
            home.mkdir(parents=True, exist_ok=True)
            kept = self.path.stat().st_blocks * 512 if self.path.exists() else 0
            _check_room("disk", total - kept, shutil.disk_usage(home).free, room)
            with self.path.open("ab") as file:
                file.truncate(total)
            _reserve(self.path, "disk", total, room)
        except OSError as error:
            raise UserError(
                f"data.cache=disk: {self.path} cannot be written ({error.strerror});"
                " set SEGMENTATION_DATA to a folder of yours, or pass data.cache=none"
            ) from error
        self.bytes = np.memmap(self.path, np.uint8, "r+")

    def __str__(self) -> str:
        return str(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a pickled memory map would be a copy of all

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self.bytes = np.memmap(self.path, np.uint8, "r+")


def checksum(pixels: np.ndarray) -> bytes:
    """Return a checksum that is never 0, which is what an empty slot holds."""
    return (zlib.crc32(pixels.data) or 1).to_bytes(CHECKSUM, "little")


def _check_room(where: str, needed: int, free: int, what: str) -> None:
    if needed > 0.95 * free:
        raise UserError(
            f"data.cache={where} needs {needed / 1e9:.2f} GB, and there are {free / 1e9:.2f} GB of {what};"
            " make room, use a smaller data.image_size, or pass data.cache=none"
        )


def _reserve(path: Path, where: str, size: int, what: str) -> None:
    """Reserve the space of a file: writing to a memory map on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    _check_room(where, size, 0, what)
                raise


def _unlink(memory: SharedMemory, owner: int) -> None:
    """Free shared memory at the end of the process that made it."""
    if os.getpid() == owner:
        memory.unlink()
