"""Several processes that train one network. torchrun starts them; without it, all of this does nothing.

Numbers on the CPU travel by gloo, those on CUDA devices by nccl.
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
"""How long processes wait for what the first of their machine prepares, which may be a download."""

_machine: dist.ProcessGroup | None = None  # the processes of this machine


def join() -> None:
    """Joins the other processes that torchrun started."""
    global _machine
    if torchrun.launched():
        dist.init_process_group(backends(torch.cuda.is_available()))
        _machine, _ = dist.new_subgroups(torchrun.local_processes(), timeout=PATIENCE, backend="gloo")


def backends(cuda: bool) -> str:
    """What carries tensors on each kind of device. (Without being told, PyTorch takes one for the GPU alone.)"""
    return "cpu:gloo,cuda:nccl" if cuda else "gloo"


def leave() -> None:
    """The end of what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 for the first, which writes for all."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def add_up(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def highest(*numbers: int) -> list[int]:
    """Each number's maximum over all processes. No device has to be waited for."""
    if processes() == 1:
        return list(numbers)
    together = torch.tensor(numbers)
    dist.all_reduce(together, dist.ReduceOp.MAX)
    return together.tolist()


def from_first(value: T) -> T:
    """The first process's value, in all of them."""
    if processes() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def once_a_machine(make: Callable[[], T]) -> T:
    """What the first process of each machine makes, in all processes of that machine.

    For what would be the same work, and memory that can be shared.
    """
    if processes() == 1:
        return make()
    local_rank = torchrun.local_rank()
    box: list[Any] = [make() if local_rank == 0 else None]
    with explain_lost_process():
        dist.broadcast_object_list(box, src=rank() - local_rank, group=_machine, device=torch.device("cpu"))
    return box[0]


def of_all(value: T) -> list[T]:
    """The values of all processes, in their order."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values


def equal_buffers(model: nn.Module) -> None:
    """Gives all processes the first one's buffers: the running statistics of batch norm are each one's own."""
    if processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Tells an error that is only the echo of another process's end from one of this process.

    Raises:
        LostProcess: in place of what gloo and nccl raise when they cannot reach a process.
    """
    try:
        yield
    except RuntimeError as error:
        if processes() > 1 and (isinstance(error, dist.DistError) or "gloo/transport" in str(error)):
            raise LostProcess(
                f"process {rank()} stops, since another one has ended: its message, or torchrun's, says why"
            ) from error
        raise
