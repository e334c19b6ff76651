"""Training with two processes of one thread each, against one process with one and with two threads.

Two trainings that know nothing of each other show what the machine allows: its cores share cache and memory.

python -m benchmarks.processes
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from utils.run_folder import RunFolder
from utils.tables import table

SCRIPT = Path(__file__).parent.parent / "train_segmentation.py"
WORDS = (
    *("trainer.epochs=3", "trainer.validate_every=3"),
    *("data.limit=160", "data.batch_size=8", "data.num_workers=0", "logger=none"),
    "data.cache=ram",  # shared: otherwise each process draws the scenes that it sees for the first time
)
ROUNDS = 2


def images_per_second(words: Sequence[str], environment: Mapping[str, str], launcher: Sequence[str] = ()) -> float:
    """Return the images per second of a real training: the median of all epochs but the first.

    Args:
        words: arguments of train_segmentation.py.
        environment: all variables of the process.
        launcher: arguments of Python before the script.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, *launcher, str(SCRIPT), *words],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        (run,) = (path for path in Path(folder, "experiments").iterdir() if not path.is_symlink())
        return statistics.median(row["images_per_second"] for row in RunFolder(run).read_rows()[1:])


def trained_with(threads: int, processes: int = 1, trainings: int = 1) -> float:
    """Return the images per second of all processes of all trainings, which run at the same time."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with ThreadPoolExecutor(trainings) as pool:
        found = [
            pool.submit(images_per_second, WORDS, environment, launcher if processes > 1 else ())
            for _ in range(trainings)
        ]
        return sum(each.result() for each in found)


def main() -> None:
    settings: dict[str, Callable[[], float]] = {
        "1 process, 1 thread": lambda: trained_with(threads=1),
        "1 process, 2 threads": lambda: trained_with(threads=2),
        "2 processes, 1 thread each": lambda: trained_with(threads=1, processes=2),
        "2 separate trainings, 1 thread each": lambda: trained_with(threads=1, trainings=2),
    }
    found: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(ROUNDS):
        for name, train in settings.items():
            found[name].append(train())
    base, *_ = medians = [statistics.median(values) for values in found.values()]
    rows = [["ENet, generated scenes of 96x128, batches of 8", "images/s", "/ 1 process, 1 thread"]]
    rows += [[n, f"{v:.1f}", f"{v / base:.2f}"] for n, v in zip(settings, medians, strict=True)]
    print(table(rows, f"{os.cpu_count()} cores"))


if __name__ == "__main__":
    main()
