"""Loggers send numbers and pictures elsewhere than the run folder. Each has the methods of `Logger`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from utils.loggers.mlflow import MLflow
from utils.loggers.tensorboard import TensorBoard
from utils.loggers.wandb import WandB

__all__ = ["Logger", "MLflow", "NoLogger", "TensorBoard", "WandB"]


class Logger(Protocol):
    """A logger of a training.

    Its constructor takes the run folder (`folder`), the optimiser step to resume after (`first_step`, 0 for a new run),
    and its own options. It writes nothing yet.

    Attributes:
        pictures: whether it takes pictures; if not, none are drawn.
    """

    pictures: bool

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        """Begin a run, or resume it. Called before the other methods.

        Args:
            config: the resolved config in plain containers.
            options: the chosen option of each group.
        """

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values by name after an optimiser step. The first name tells kinds of values apart."""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture, uint8 (H, W, 3) RGB, after an optimiser step."""

    def close(self, status: str) -> None:
        """End the run and write what is pending; `status` is `finished`, `pruned`, `failed` or `interrupted`."""


class NoLogger:
    """A logger that does nothing."""

    pictures = False

    def __init__(self, folder: str = "", first_step: int = 0) -> None:
        pass

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        pass

    def log(self, values: Mapping[str, float], step: int) -> None:
        pass

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        pass

    def close(self, status: str) -> None:
        pass
