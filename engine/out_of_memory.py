"""Explain errors that memory has run out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from utils.errors import UserError
from utils.text import plural


class OutOfMemory(UserError):
    """A run needs more memory than is available."""

    resumable = False


@contextmanager
def explain_out_of_memory(
    batch_size: int, image_size: tuple[int, int], device: torch.device, accumulation_steps: int | None = None
) -> Iterator[None]:
    """If memory runs out, report which settings need less.

    Args:
        image_size: (H, W) of the batches.
        accumulation_steps: `trainer.accumulation_steps`; None outside training.

    Raises:
        OutOfMemory: in place of the error of PyTorch.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        ways = [f"data.batch_size={batch_size // 2}"] if batch_size > 1 else []
        if accumulation_steps is not None:
            if ways:
                ways[0] += (
                    f" trainer.accumulation_steps={accumulation_steps * 2} (the same gradient except for batch norm)"
                )
            ways.append("model.checkpointing=true if the model has it")
        raise OutOfMemory(
            f"out of memory on {device} with batches of {plural(batch_size, 'image')} of"
            f" {image_size[0]}x{image_size[1]}; pass {', or '.join([*ways, 'a smaller data.image_size'])}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that memory has run out: CUDA has a class for it, CPU and MPS a message."""
    signs = ("can't allocate memory", "not enough memory", "backend out of memory", "CUDA out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in str(error) for sign in signs)
