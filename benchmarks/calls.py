"""What several benchmarks time: a training step and a forward pass, in each memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Call = Callable[[], object]
Loss = Callable[[Any, Tensor], Tensor]


def random_batch(shape: tuple[int, int, int], classes: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, H, W) and a target (N, H, W) for a shape (N, H, W), the same each time."""
    generator = torch.Generator().manual_seed(0)
    n, height, width = shape
    images = torch.randn(n, 3, height, width, generator=generator)
    return images, torch.randint(classes, shape, generator=generator)


def step_of(
    network: nn.Module, loss: Loss, images: Tensor, target: Tensor, forward: Callable[[Tensor], Any] | None = None
) -> Call:
    """Return a function that runs forward, loss, backward and AdamW's step.

    Args:
        forward: the network compiled or under autocast, if it is to be called like that.
    """
    call = network if forward is None else forward
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss(call(images), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def inference_of(network: nn.Module, images: Tensor) -> Call:
    """Return a function that runs a forward pass in eval mode."""
    network.eval()
    return torch.inference_mode()(lambda: network(images))
