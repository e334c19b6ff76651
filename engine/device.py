"""Where the computation runs, and in which precision."""

from __future__ import annotations

import ctypes

import torch

from utils.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU; a named device must be there.

    Raises:
        UserError: the device is not there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps else "cpu"
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        there = ", ".join(["auto", "cpu"] + ["cuda"] * cuda + ["mps"] * mps)
        raise UserError(f"the device '{name}' is not available on this machine; available: {there}")
    return torch.device(name)


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The dtype to autocast to, None for float32.

    Args:
        amp: `off`, `fp16`, `bf16`, or `auto`: bf16 on CUDA devices that have it, else fp16; off elsewhere.
    """
    if amp == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"off": None, "fp16": torch.float16, "bf16": torch.bfloat16}[amp]


def keep_freed_memory() -> None:
    """Makes the C library keep what is freed for the next step; where it is not glibc, does nothing.

    It would return large blocks to the system, which then hands out zeroed pages, step after step: a tenth to a fifth
    of the time that a small network takes on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):  # some versions take no more than 32 MiB
        mallopt(trim_threshold, 2**31 - 1)
