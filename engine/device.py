"""The device and the precision of computations."""

from __future__ import annotations

import torch

from utils import torchrun
from utils.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if available, else Apple's MPS, else the CPU.

    Each process that torchrun starts gets its own GPU.

    Raises:
        UserError: the device is not available, or there are more processes than GPUs.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps else "cpu"
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        there = ", ".join(["auto", "cpu"] + ["cuda"] * cuda + ["mps"] * mps)
        raise UserError(f"the device '{name}' is not available on this machine; available: {there}")
    if name != "cuda" or not torchrun.launched():
        return torch.device(name)
    if torchrun.local_processes() > torch.cuda.device_count():
        raise UserError(
            f"{torchrun.local_processes()} processes for {torch.cuda.device_count()} GPUs; pass"
            f" --nproc_per_node={torch.cuda.device_count()}"
        )
    device = torch.device("cuda", torchrun.local_rank())
    torch.cuda.set_device(device)
    return device


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype of mixed precision; None for float32.

    Args:
        amp: `off`, `fp16`, `bf16`, or `auto`: on CUDA bf16 if supported, else fp16; off on other devices.
    """
    if amp == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"off": None, "fp16": torch.float16, "bf16": torch.bfloat16}[amp]
