"""Write checkpoints in the background."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import save_checkpoint
from utils.errors import UserError


class CheckpointWriter:
    """Writes checkpoints one after the other in a thread, from copies, so that training waits only for the copy.

    The memory of a copy is reused for the next checkpoint of that file, since allocating takes longer than copying.
    If a write fails, the next call raises its UserError. On exit as a context manager, it waits for all writes.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: list[tuple[Path, Future[Any]]] = []
        self._copies: dict[Path, Copies] = defaultdict(Copies)

    def save(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Begin to write a checkpoint, after the previous one of that file is written."""
        self.wait(path)
        copy = self._copies[path].of(checkpoint)
        self._pending.append((path, self._pool.submit(save_checkpoint, path, copy)))

    def reserve(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Allocate the memory for a checkpoint like this one in the thread, so that `save` need not wait for it."""
        self._pending.append((path, self._pool.submit(self._copies[path].of, checkpoint)))

    def wait(self, path: Path | None = None) -> None:
        """Wait until all checkpoints, or those of a file, are on disk."""
        self._settle([one for one in self._pending if path in (None, one[0])])

    def check(self) -> None:
        """Raise the error of a write that has failed, without waiting."""
        self._settle([one for one in self._pending if one[1].done()])

    def _settle(self, done: list[tuple[Path, Future[Any]]]) -> None:
        for one in done:
            self._pending.remove(one)
            one[1].result()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except UserError:
            if kind is None:  # otherwise keep the exception that is already raised
                raise
        finally:
            self._pool.shutdown()


class Copies:
    """Copies nested dictionaries, lists and tuples, with their tensors, to the CPU.

    The memory of a tensor is reused for the next one in the same place.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[Any, ...], Tensor] = {}

    def of(self, value: Any) -> Any:
        """Copy a value. The copy is valid until the next call."""
        copy = self._copy(value, ())
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # once for all tensors
        return copy

    def _copy(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._filled(place, value.detach())
        if isinstance(value, dict):
            return {key: self._copy(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self._copy(item, (*place, number)) for number, item in enumerate(value)]
            return items if isinstance(value, list) else tuple(items)
        return value

    def _filled(self, place: tuple[Any, ...], tensor: Tensor) -> Tensor:
        kept = self._memory.get(place)
        if kept is None or (kept.shape, kept.dtype, kept.stride()) != (tensor.shape, tensor.dtype, tensor.stride()):
            kept = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            self._memory[place] = kept
        return kept.copy_(tensor, non_blocking=tensor.is_cuda)
