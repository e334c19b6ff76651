"""Training one network in several processes, started by torchrun. In a single process, these functions do nothing.

Tensors on the CPU are exchanged by gloo, those on CUDA devices by nccl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils import torchrun
from utils.errors import LostProcess

T = TypeVar("T")

PATIENCE = timedelta(hours=12)
"""How long the processes of a machine wait for the first one to prepare the data, which may include a download."""

_machine: dist.ProcessGroup | None = None  # the processes of this machine


def join() -> None:
    """Join the other processes that torchrun started."""
    global _machine
    if torchrun.launched():
        dist.init_process_group(backends(torch.cuda.is_available()))
        _machine, _ = dist.new_subgroups(torchrun.local_processes(), timeout=PATIENCE, backend="gloo")


def backends(cuda: bool) -> str:
    """Return the backend for each kind of device. (By default PyTorch picks one for the GPU only.)"""
    return "cpu:gloo,cuda:nccl" if cuda else "gloo"


def leave() -> None:
    """Leave the other processes, after the last exchange."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process. Process 0 writes for all."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    if processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def maxima(*numbers: int) -> list[int]:
    """Return the maximum of each number over all processes, without waiting for a device."""
    if processes() == 1:
        return list(numbers)
    together = torch.tensor(numbers)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return together.tolist()


def from_first(value: T) -> T:
    """Return the value of the first process."""
    if processes() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def once_per_machine(make: Callable[[], T]) -> T:
    """Call a function in the first process of each machine, and return its result in all processes of that machine.

    Use it for work whose result is the same, or whose memory can be shared.
    """
    if processes() == 1:
        return make()
    local_rank = torchrun.local_rank()
    box: list[Any] = [make() if local_rank == 0 else None]
    with explain_lost_process():
        dist.broadcast_object_list(box, src=rank() - local_rank, group=_machine, device=torch.device("cpu"))
    return box[0]


def gather(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values


def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers of the first process to all, since each has its own running statistics of batch norm."""
    if processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Report that another process has ended, instead of an error of this one.

    Raises:
        LostProcess: in place of the error of gloo or nccl when a process cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if processes() > 1 and (isinstance(error, dist.DistError) or "gloo/transport" in str(error)):
            raise LostProcess(
                f"process {rank()} stops because another one has ended: see its message, or that of torchrun"
            ) from error
        raise
