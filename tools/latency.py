"""How long networks take, and how much memory: what `backends=` of tools.benchmark asks for.

What is timed is the forward pass alone, in eval mode and `torch.inference_mode`, on images that are on the device.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.config import build_network, option_node
from utils.errors import UserError
from utils.value_types import Backend

if TYPE_CHECKING:
    from torch import nn

Call = Callable[[], object]

ROUNDS = 5  # through all cases; each gets as much of its time in every one
WARM = 0.1  # a case is warm when three calls in a row differ by no more than this share


@dataclass(frozen=True)
class Network:
    """A network to be measured.

    Attributes:
        name: as it is called in tables.
        source: a file of `conf/model/`, a checkpoint or a run folder.
        image_size: (H, W).
        num_classes: of a network of `conf/model/`; a checkpoint has its own.
    """

    name: str
    source: Path
    image_size: tuple[int, int]
    num_classes: int


@dataclass(frozen=True)
class Case:
    """What is timed: a network with a backend.

    Attributes:
        device: `cpu` or `cuda`.
        amp: `off`, `fp16`, `bf16` or `auto`, see `engine.device.autocast_dtype`.
        threads: of torch or ONNX Runtime.
    """

    network: Network
    backend: Backend
    batch_size: int
    device: str
    amp: str
    threads: int


@dataclass
class Result:
    """What was found of a case.

    Attributes:
        times: milliseconds of each call; empty where there is a problem.
        memory: bytes that the weights, the images and all else of a pass take at most; None where it is not known.
        problem: why there is no time, in a line.
    """

    times: list[float]
    memory: int | None = None
    problem: str | None = None


@functools.cache
def load(source: Path, num_classes: int, on_meta: bool = False) -> nn.Module:
    """The network of a file of `conf/model/`, a checkpoint or a run folder, in eval mode.

    Args:
        on_meta: without memory for its weights; not for a checkpoint, which has them.

    Raises:
        UserError: as `build_model` of `engine.checkpoint`.
    """
    import torch

    from engine.checkpoint import build_model, load_checkpoint

    if source.suffix != ".yaml":
        return build_model(load_checkpoint(source)).eval()
    node = option_node("model", source.stem)
    with torch.device("meta" if on_meta else "cpu"):
        return build_network(node, num_classes, f"model {source.stem}").eval()


def measure(cases: Sequence[Case], seconds: float) -> list[Result]:
    """Times all cases in turn, so that a slow phase of the machine hits all of them.

    Args:
        seconds: that each case is timed for; five calls at least.
    """
    from tqdm import tqdm

    from utils.memory import keep_freed_memory

    keep_freed_memory()  # as infer.py and the Trainer do
    results = [Result([]) for _ in cases]
    calls: dict[int, Call] = {}

    def attempt(i: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a backend may fail in any way; the others go on
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            results[i] = Result([], problem=f"{kind}{lines[0] if lines else ''}"[:300])
            calls.pop(i, None)

    with tempfile.TemporaryDirectory() as folder:

        def prepare(i: int) -> None:
            calls[i] = prepared(cases[i], Path(folder, f"{i}.onnx"))
            warm_up(calls[i], cases[i].device, seconds)
            results[i].memory = peak_memory(cases[i], calls[i], Path(folder, f"{i}.onnx"))

        def time_once(i: int) -> None:
            calls[i]()  # another network was in the caches
            results[i].times += timed(calls[i], cases[i].device, seconds / ROUNDS)

        with tqdm(total=len(cases) * (1 + ROUNDS), leave=False, disable=None, dynamic_ncols=True) as bar:
            for i, case in enumerate(cases):
                bar.set_description(f"{case.network.name}, {case.backend}")
                attempt(i, functools.partial(prepare, i))
                bar.update()
            for _ in range(ROUNDS):
                for i in range(len(cases)):
                    if i in calls:
                        bar.set_description(cases[i].network.name)
                        attempt(i, functools.partial(time_once, i))
                    bar.update()
    return results


def prepared(case: Case, file: Path) -> Call:
    """A forward pass of a case, to be called; `file` is where an exported network goes."""
    import torch

    from engine.device import autocast_dtype
    from export.exported import to_onnx

    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    images = torch.rand(case.batch_size, 3, *case.network.image_size)
    model = load(case.network.source, case.network.num_classes)
    if case.backend == "onnx":
        if case.device != "cpu" or case.amp in ("fp16", "bf16"):
            raise UserError("ONNX Runtime is timed on the CPU in float32: say device=cpu amp=off")
        file.write_bytes(to_onnx(model, images, ["logits"]).SerializeToString())
        return _session(file, images.numpy(), case.threads)
    images, model = images.to(device), model.to(device)
    call: Any = model
    if case.backend == "compile":
        # Variants of a network share their code, and torch counts translations by code.
        torch._dynamo.config.recompile_limit = 1000
        call = torch.compile(model, dynamic=False)
    dtype = autocast_dtype(case.amp, device)

    def forward() -> object:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            return call(images)

    return forward


def _session(file: Path, images: Any, threads: int) -> Call:
    """A forward pass of an exported network on images float32 (N, 3, H, W) of NumPy."""
    import torch

    from export.onnx_model import open_session

    session = open_session(file, torch.device("cpu"), threads)
    return functools.partial(session.run, None, {"images": images})


def warm_up(call: Call, device: str, seconds: float) -> None:
    """Calls until three calls in a row take about as long, for `seconds` after the first and 50 calls at most."""
    call()  # compiles
    start = time.perf_counter()
    times: list[float] = []
    while len(times) < 50 and time.perf_counter() - start < seconds:
        times += timed(call, device, 0)
        if len(times) >= 3 and max(times[-3:]) <= (1 + WARM) * min(times[-3:]):
            return


def timed(call: Call, device: str, seconds: float) -> list[float]:
    """Milliseconds of each call, until `seconds` are over and once at least; on CUDA as its events tell."""
    import torch

    times: list[float] = []
    end = time.perf_counter() + seconds
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2)) if device == "cuda" else (None, None)
    while not times or time.perf_counter() < end:
        if before is None or after is None:
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
        else:
            before.record()
            call()
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after))
    return times


def peak_memory(case: Case, call: Call, file: Path) -> int | None:
    """Bytes that the weights, the images and a pass take at most.

    On CUDA it is torch's `max_memory_allocated`, without other networks. On a CPU it is what the weights take, and how
    far the resident memory of a fresh process that holds them rises at its highest in two passes; of ONNX Runtime, the
    rise from before the network is read. That is known on Linux, and not for torch.compile: the compiler itself takes
    more than most networks.
    """
    import torch

    if case.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        images = 4 * case.batch_size * 3 * case.network.image_size[0] * case.network.image_size[1]
        return torch.cuda.max_memory_allocated() - before + _weights(case.network) + images
    if case.backend == "compile" or not Path("/proc/self/clear_refs").exists():
        return None
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_rise, case, file).result()


def _weights(network: Network) -> int:
    """Bytes of the parameters and running statistics."""
    model = load(network.source, network.num_classes)
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def _rise(case: Case, file: Path) -> int:
    """The bytes of a case on a CPU, in a process that has done nothing else, see `peak_memory`."""
    from utils.memory import memory

    if case.backend == "onnx":
        import numpy as np
        import onnxruntime  # noqa: F401 - not what the network takes

        import export.onnx_model  # noqa: F401

        weights = 0
    else:
        import torch

        weights = _weights(case.network)
        with torch.inference_mode():
            torch.nn.Conv2d(3, 8, 3)(torch.rand(1, 3, 8, 8))  # what torch sets up once
    with suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)  # gives back what building needed
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten: proc(5)
    before = memory("VmRSS")
    if case.backend == "onnx":
        images = np.random.default_rng(0).random((case.batch_size, 3, *case.network.image_size), np.float32)
        call = _session(file, images, case.threads)
    else:
        call = prepared(case, file)
    for _ in range(2):
        call()
    return memory("VmHWM") - before + weights
