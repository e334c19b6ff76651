"""Loggers that hold a training, so that a test can act on it however busy the machine is.

A config names them by `logger._target_=tests.holding.Holding`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from utils.loggers import NoLogger, TensorBoard


class Holds:
    """Hold a training at a validation until the working directory has a file `go`; make a file `held` there.

    Args:
        step: the optimizer step from which a validation is waited for.
        job: the folder name of the job of a sweep that is held; empty for any run.
    """

    def __init__(self, folder: str, first_step: int = 0, step: int = 0, job: str = "") -> None:
        super().__init__(folder, first_step)  # type: ignore[call-arg]
        self._step, self._is_meant = step, job in ("", Path(folder).name)

    def log(self, values: Mapping[str, float], step: int) -> None:
        super().log(values, step)  # type: ignore[misc]
        if self._is_meant and "val/miou" in values and step >= self._step:
            Path("held").touch()
            while not Path("go").exists():
                time.sleep(0.01)


class Holding(Holds, NoLogger):
    """A logger that only holds."""


class HoldingTensorBoard(Holds, TensorBoard):
    """TensorBoard's, which also holds."""
