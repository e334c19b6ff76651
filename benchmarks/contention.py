"""Training beside busy processes: images per second against the fair share of the machine.

python -m benchmarks.contention

A busy process is a Python loop that takes all of a core. --smoke trains on a few tiny images, to try the script.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.processes import images_per_second
from utils.tables import table

WORDS = (
    *("data.image_size=[180,240]", "data.batch_size=8", "data.limit=80"),
    *("trainer.epochs=4", "trainer.validate_every=4", "logger=none"),
)
SMOKE = ("data.image_size=[32,32]", "data.limit=8", "data.num_workers=0", "trainer.epochs=2", "logger=none")
BUSY = (0, 1, 2)
HEAD = ["busy processes", "trainer.threads", "images/s", "fair share", "time / time of the fair share"]


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen]]:
    """Keep `count` cores busy, until the block ends."""
    processes: list[subprocess.Popen] = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def fair_share(busy: int, cores: int) -> float:
    """Return the share of the machine that is fair for a training beside `busy` processes of one thread.

    It is what they leave, but at least an equal part for each process.
    """
    return max(cores - busy, cores / (busy + 1)) / cores


def rows_of(rates: dict[tuple[int, str], float], cores: int) -> list[list[str]]:
    """Return the rows of the table.

    Args:
        rates: images per second by the number of busy processes and `trainer.threads`; the first is of the machine
            without busy processes.
    """
    whole = next(iter(rates.values()))
    rows = []
    for (busy, threads), rate in rates.items():
        fair = whole * fair_share(busy, cores)
        rows.append([str(busy), threads, f"{rate:.1f}", f"{fair:.1f}", f"{fair / rate:.2f}"])
    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train beside busy processes.")
    parser.add_argument("--smoke", action="store_true", help="tiny images, and at most one busy process")
    smoke = parser.parse_args(words).smoke
    cores = os.cpu_count() or 1
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    rates: dict[tuple[int, str], float] = {}
    for busy in BUSY[:2] if smoke else BUSY:
        for threads in ["auto"] if smoke else ["auto", str(cores)]:
            with busy_processes(busy):
                given = (*(SMOKE if smoke else WORDS), f"trainer.threads={threads}")
                rates[busy, threads] = images_per_second(given, environment)
    print(table([HEAD, *rows_of(rates, cores)], f"ENet, {cores} cores"))


if __name__ == "__main__":
    main()
