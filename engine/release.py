"""Reduce a checkpoint to what others need to use the network: half the size or less, and no paths of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.config_values import mapped

KEPT = ("version", "code", "labels", "normalization", "image_size", "epoch", "metrics")
GROUPS = ("model", "data", "trainer")
"""The parts of the config that predicting and evaluating read."""


def released(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without the state of the training and in half precision.

    If the checkpoint holds an average of the weights (a `last.pt` with `trainer.ema=true`), the average is returned.

    Args:
        checkpoint: as `engine.checkpoint.load_checkpoint` returns it.
    """
    average = checkpoint.get("training", {}).get("average")
    weights = checkpoint["model"] if average is None else average
    config = {group: checkpoint["config"][group] for group in GROUPS if group in checkpoint["config"]}
    return {
        **{key: checkpoint[key] for key in KEPT if key in checkpoint},
        "config": _without_folders(config),
        "model": {name: half(tensor) for name, tensor in weights.items()},
    }


def half(tensor: Tensor) -> Tensor:
    """Return a tensor as float16; unchanged if it holds integers, or numbers that are too large."""
    if not tensor.is_floating_point():
        return tensor
    small = tensor.to(torch.float16)
    return small if bool(small.isfinite().all()) else tensor


def _without_folders(value: Any) -> Any:
    """Shorten absolute paths to their last part."""
    return mapped(value, lambda v: Path(v).name if isinstance(v, str) and Path(v).is_absolute() else v)
