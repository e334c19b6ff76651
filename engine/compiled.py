"""torch.compile with a fallback to eager mode."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


class Compiled:
    """Calls a network through torch.compile, and in eager mode after a failure. The weights are shared.

    PyTorch compiles at the first call and again for new shapes, so any call may fail.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._call: Any = torch.compile(model)

    def __call__(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self._call is self._model:
            return self._model(images)
        try:
            return self._call(images)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            name = type(self._model).__name__
            log.warning("trainer.compile: falls back to eager mode: %s could not be compiled: %s", name, reason)
            self._call = self._model
            return self._model(images)
