"""Where metrics go besides metrics.csv. A logger has `log` and `close`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from utils.errors import UserError


class Logger(Protocol):
    """What the trainer tells its numbers to."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Notes values by name at an optimiser step."""
        ...

    def close(self) -> None:
        """Writes what is still unwritten."""
        ...


class NoLogger:
    """Keeps metrics.csv the only record."""

    def __init__(self, folder: str = "", first_step: int = 0) -> None:
        pass

    def log(self, values: Mapping[str, float], step: int) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """Scalars for `tensorboard --logdir experiments`.

    Args:
        folder: the run folder; events go to its `tensorboard/`.
        first_step: where a resumed run goes on; what was written after it is hidden.
    """

    def __init__(self, folder: str, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(str(Path(folder, "tensorboard")), purge_step=first_step or None)

    def log(self, values: Mapping[str, float], step: int) -> None:
        try:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise UserError(f"{self._writer.log_dir}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        with suppress(OSError):  # a full disk has been told of before
            self._writer.close()
