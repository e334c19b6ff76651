"""Activation checkpointing: recompute blocks in the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(block: nn.Module, x: Tensor, drop_rate: float) -> Tensor:
    """Run a block without storing its activations; they are recomputed in the backward pass.

    Running statistics of batch norms are updated only once.
    """

    def contexts() -> tuple:
        return nullcontext(), _statistics_kept(block)

    return checkpoint(block, x, drop_rate, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms as they are."""
    norms: list[tuple[Any, float | None]] = [
        (layer, layer.momentum) for layer in module.modules() if isinstance(layer, _BatchNorm)
    ]
    counts = [norm.num_batches_tracked.clone() for norm, _ in norms]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for (norm, momentum), count in zip(norms, counts, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
