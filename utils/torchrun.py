"""What torchrun tells the processes that it starts, known before torch is imported."""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Number of this process, from 0; 0 without torchrun."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """Number of this process among those of its machine, from 0; 0 without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if launched() else 0


def local_processes() -> int:
    """How many processes there are on this machine; 1 without torchrun."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1
