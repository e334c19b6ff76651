"""Training steps with `trainer.compile=true`: CPU seconds to compile, and after how many epochs that has paid off.

python -m benchmarks.compiling
python -m benchmarks.compiling enet --batch 8 --size 360 480 --images 367

One thread. CPU time counts the C++ compiler; compile caches are not used.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Sequence

import torch
from torch._inductor import config as inductor

from benchmarks.calls import random_batch, step_of
from benchmarks.networks import CLASSES, NETWORKS
from benchmarks.timing import interleaved, seconds
from engine.pointwise import compute_with_onednn
from losses.combinations import ce_iou
from utils.memory import keep_freed_memory
from utils.tables import table

HEAD = ["network", "eager step", "compiled", "compiled / eager", "images/s", "to compile", "pays off after"]


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def times_of(name: str, shape: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Return the seconds of an eager step, of a compiled one, and of the first compiled one, on images (N, H, W)."""
    images, target = random_batch(shape, CLASSES)
    images = images.contiguous(memory_format=torch.channels_last)
    loss = ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0})  # by default, the Trainer's
    eager = NETWORKS[name]().to(memory_format=torch.channels_last)
    compute_with_onednn(eager)  # as the Trainer does
    compiled = copy.deepcopy(eager)
    steps = {
        "eager": step_of(eager, loss, images, target),
        "compiled": step_of(compiled, loss, images, target, forward=torch.compile(compiled)),
    }
    first = seconds(steps["compiled"], cpu_seconds)
    return interleaved(steps, rounds, warmup=1, clock=cpu_seconds) | {"first": first}


def row_of(name: str, times: dict[str, float], batch: int, steps_per_epoch: int) -> list[str]:
    """Return the row of a network from its `times_of`: images/s are those of the compiled network."""
    compiling = times["first"] - times["compiled"]
    saved = (times["eager"] - times["compiled"]) * steps_per_epoch
    return [
        name,
        f"{times['eager']:.2f} s",
        f"{times['compiled']:.2f} s",
        f"{times['compiled'] / times['eager']:.2f}",
        f"{batch / times['compiled']:.1f}",
        f"{compiling:.0f} s",
        f"{compiling / saved:.1f} epochs" if saved > 0 else "never",
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what torch.compile costs and brings in training.")
    parser.add_argument("names", nargs="*", default=["enet", "fast_scnn", "espnet_s0"], choices=NETWORKS)
    parser.add_argument("--size", nargs=2, type=int, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=367, help="per epoch; 367 are CamVid's training images")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    keep_freed_memory()
    shape = (arguments.batch, *arguments.size)
    steps = math.ceil(arguments.images / arguments.batch)
    # Workers that compile would outlive the measurement.
    with inductor.patch(compile_threads=1, force_disable_caches=True):
        rows = [
            row_of(name, times_of(name, shape, arguments.rounds), arguments.batch, steps) for name in arguments.names
        ]
    print(table([HEAD, *rows], f"{' x '.join(map(str, shape))}, CPU time of one thread"))


if __name__ == "__main__":
    main()
