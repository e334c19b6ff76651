"""Where numbers and pictures go besides the run folder: one file a service, all with the methods of `Logger`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from utils.loggers.mlflow import MLflow
from utils.loggers.tensorboard import TensorBoard
from utils.loggers.wandb import WandB

__all__ = ["Logger", "MLflow", "NoLogger", "TensorBoard", "WandB"]


class Logger(Protocol):
    """What a training tells its numbers to. A constructor takes the run folder (`folder`) and the optimiser step that
    a run goes on after (`first_step`, 0 for a new one), besides its own options; it writes nothing yet.

    Attributes:
        pictures: whether it takes pictures; if not, none are made.
    """

    pictures: bool

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        """Is told of the run before all else, and again when it goes on.

        Args:
            config: the resolved config in plain containers.
            options: the chosen option of each group.
        """
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Notes values by name after an optimiser step. What goes together always has the same first name."""
        ...

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Notes a picture, uint8 (H, W, 3), RGB, after an optimiser step."""
        ...

    def close(self, status: str) -> None:
        """Writes what is still unwritten; `status` is `finished`, `failed` or `interrupted`."""
        ...


class NoLogger:
    """Keeps the run folder the only record."""

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
