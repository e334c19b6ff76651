"""Measure time and memory of forward passes, for tools.benchmark with `backends=`.

Only the forward pass is timed, in eval mode and `torch.inference_mode`, on images that are on the device.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.nodes import build_network, option_node
from utils.errors import UserError
from utils.paths import is_onnx
from utils.value_types import Backend

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("benchmark")

Call = Callable[[], object]

ROUNDS = 5  # over all cases; each case is timed for an equal part of its seconds in every round
WARM = 0.1  # a case is warm when three consecutive calls differ by at most this share


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        source: a file in `conf/model/`, a checkpoint, a run folder or an ONNX file.
        image_size: (H, W).
        num_classes: number of classes of a network in `conf/model/`; the others have their own.
    """

    name: str
    source: Path
    image_size: tuple[int, int]
    num_classes: int


@dataclass(frozen=True)
class Case:
    """A network with a backend, to be timed; `amp` as for `engine.device.autocast_dtype`."""

    network: Network
    backend: Backend
    batch_size: int
    device: str
    amp: str
    threads: int


@dataclass
class Result:
    """Measurements of a case.

    Attributes:
        times: milliseconds of each call; empty if there was a problem.
        memory: peak bytes of weights, images and a forward pass; None if unknown.
        problem: why there are no times, in one line.
    """

    times: list[float]
    memory: int | None = None
    problem: str | None = None


def described(case: Case) -> str:
    """Return 'enet, 512x512, onnx, batch of 1'."""
    height, width = case.network.image_size
    return f"{case.network.name}, {height}x{width}, {case.backend}, batch of {case.batch_size}"


@functools.cache
def load(source: Path, num_classes: int, on_meta: bool = False) -> nn.Module:
    """Build the network of a file in `conf/model/`, a checkpoint or a run folder, in eval mode.

    With `on_meta`, a network of `conf/model/` gets no memory for its weights.

    Raises:
        UserError: as for `engine.checkpoint.build_model`.
    """
    import torch

    from engine.checkpoint import build_model, load_checkpoint

    if source.suffix != ".yaml":
        return build_model(load_checkpoint(source)).eval()
    node = option_node("model", source.stem)
    with torch.device("meta" if on_meta else "cpu"):
        return build_network(node, num_classes, f"model {source.stem}").eval()


def measure(cases: Sequence[Case], seconds: float) -> list[Result]:
    """Time all cases in turn, so that a slow phase of the machine affects all of them.

    Args:
        seconds: time per case; each has at least five calls.
    """
    from tqdm import tqdm

    from utils.memory import keep_freed_memory

    keep_freed_memory()  # as infer.py and the Trainer do
    results = [Result([]) for _ in cases]
    calls: dict[int, Call] = {}

    def attempt(i: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a backend may fail in any way; continue with the others
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            results[i] = Result([], problem=f"{kind}{lines[0] if lines else ''}"[:300])
            calls.pop(i, None)

    with tempfile.TemporaryDirectory() as folder:

        def prepare(i: int) -> None:
            file = cases[i].network.source if is_onnx(cases[i].network.source) else Path(folder, f"{i}.onnx")
            calls[i] = prepared(cases[i], file)
            warm_up(calls[i], cases[i].device, seconds)
            results[i].memory = peak_memory(cases[i], calls[i], file)

        def time_once(i: int) -> None:
            calls[i]()  # refills the processor's caches after another network
            results[i].times += timed(calls[i], cases[i].device, seconds / ROUNDS)

        with tqdm(total=len(cases) * (1 + ROUNDS), leave=False, disable=None, dynamic_ncols=True) as bar:
            for i, case in enumerate(cases):
                bar.set_description(f"{case.network.name}, {case.backend}")
                if bar.disable:  # no terminal
                    log.info("warming up %d of %d: %s", i + 1, len(cases), described(case))
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
    """Return a function that runs a forward pass of a case.

    Args:
        file: where to export the network for ONNX Runtime; the network itself if it is an ONNX file.
    """
    import torch

    from engine.device import autocast_dtype
    from engine.size import in_channels_of
    from export.exported import to_onnx

    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    if case.backend == "onnx" and (case.device != "cpu" or case.amp in ("fp16", "bf16")):
        raise UserError("ONNX Runtime is timed on the CPU in float32: pass device=cpu amp=off")
    if is_onnx(case.network.source):
        return _session(file, case)
    model = load(case.network.source, case.network.num_classes)
    images = torch.rand(case.batch_size, in_channels_of(model), *case.network.image_size)
    if case.backend == "onnx":
        file.write_bytes(to_onnx(model, images, ["logits"]).SerializeToString())
        return _session(file, case)
    images, model = images.to(device), model.to(device)
    call: Any = model
    if case.backend == "compile":
        # Variants of a network share their code, and torch counts recompilations by code.
        torch._dynamo.config.recompile_limit = 1000
        call = torch.compile(model, dynamic=False)
    dtype = autocast_dtype(case.amp, device)

    def forward() -> object:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            return call(images)

    return forward


def _session(file: Path, case: Case) -> Call:
    """Return a function that runs an ONNX file on random images."""
    import torch

    from export.onnx_model import open_session, random_images

    session = open_session(file, torch.device("cpu"), case.threads)
    return functools.partial(session.run, None, random_images(session, file, case.batch_size, case.network.image_size))


def warm_up(call: Call, device: str, seconds: float) -> None:
    """Call until three consecutive calls take about the same time: at most 50 times or `seconds` after the first."""
    call()  # may compile
    start = time.perf_counter()
    times: list[float] = []
    while len(times) < 50 and time.perf_counter() - start < seconds:
        times += timed(call, device, 0)
        if len(times) >= 3 and max(times[-3:]) <= (1 + WARM) * min(times[-3:]):
            return


def timed(call: Call, device: str, seconds: float) -> list[float]:
    """Return the milliseconds of each call, for `seconds` and at least once; measured by events on CUDA."""
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
    """Return the peak bytes of weights, images and a forward pass; None if unknown.

    On CUDA: PyTorch's `max_memory_allocated`, without other networks. On a CPU: the weights, plus the growth of the
    resident memory of a fresh process over two passes; for ONNX Runtime, the growth from before the network is loaded.
    Needs Linux. Unknown for torch.compile, since the compiler takes more memory than most networks.
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
    """Return the bytes of parameters and buffers."""
    model = load(network.source, network.num_classes)
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def _rise(case: Case, file: Path) -> int:
    """Measure the bytes of a case on a CPU in a fresh process, see `peak_memory`."""
    from utils.memory import memory

    if case.backend == "onnx":
        import onnxruntime  # noqa: F401 - imported first, so that its own memory does not count

        import export.onnx_model  # noqa: F401

        weights = 0
    else:
        import torch

        weights = _weights(case.network)
        with torch.inference_mode():
            torch.nn.Conv2d(3, 8, 3)(torch.rand(1, 3, 8, 8))  # what torch allocates once
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)  # return what building the network needed
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak, see proc(5)
    before = memory("VmRSS")
    call = _session(file, case) if case.backend == "onnx" else prepared(case, file)
    for _ in range(2):
        call()
    return memory("VmHWM") - before + weights
