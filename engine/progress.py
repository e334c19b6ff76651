"""How far a training has come."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Progress:
    """
    Attributes:
        epoch: finished epochs, validation included.
        batch: micro-batches done in the epoch after those.
        step: optimiser steps done.
        best: best value of the monitored metric, NaN before the first validation.
        best_epoch: the epoch it was reached in, counted from 1.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = math.nan
    best_epoch: int = 0
