"""Writing checkpoints while the training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from engine.checkpoint import save_checkpoint
from utils.errors import UserError


class CheckpointWriter:
    """Writes one checkpoint after the other in a thread, from copies, so that the training waits for the copy alone.

    A failure to write is a UserError of the next call. As a context manager, waits for the last one at its end.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Begins to write a checkpoint; waits for the one before, if it is not written yet."""
        self.wait()
        self._pending = self._pool.submit(save_checkpoint, path, snapshot(checkpoint))

    def wait(self) -> None:
        """Waits until everything is on disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """Raises what has gone wrong by now, without waiting."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except UserError:
            if kind is None:  # what is raised already matters more
                raise
        finally:
            self._pool.shutdown()


def snapshot(value: Any) -> Any:
    """A copy of nested dictionaries, lists and tuples with all tensors in memory of their own."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [snapshot(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value
