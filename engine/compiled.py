"""torch.compile, with a way back."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


class Compiled:
    """Calls a network as torch.compile translates it, or as it is once that has failed. Its weights stay the network's.

    Compiling happens at the first call, and again for other shapes, so that only then it is known whether it can be.
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
            log.warning("trainer.compile: goes on without, since %s could not be compiled: %s", name, reason)
            self._call = self._model
            return self._model(images)
