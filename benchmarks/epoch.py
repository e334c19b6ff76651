"""A whole epoch of ENet on CamVid, validation included, against the loop of PyTorch-ENet: CPU time of one thread.

git clone https://github.com/davidtvs/PyTorch-ENet ../PyTorch-ENet
python -m benchmarks.epoch --enet ../PyTorch-ENet --data datasets/camvid

Both read the same resized copies, do not augment, load in the training process, validate after each epoch, and minimise
cross-entropy with Adam. Start and end are left out: trainings of one epoch and of several are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from utils.tables import table

ROOT = Path(__file__).parent.parent
BATCH = 8
OURS = (
    *("model=enet", "data=camvid", "augmentation=none", "loss=cross_entropy", "scheduler=constant", "logger=none"),
    *("optimizer=adam", "optimizer.lr=5e-4", "optimizer.weight_decay=2e-4"),
    *(f"data.batch_size={BATCH}", "data.num_workers=0", "trainer.device=cpu", "trainer.threads=1"),
)


def write_resized(source: Path, target: Path, size: tuple[int, int], images: int) -> None:
    """Write the first images and masks of both splits as PNG files of another size (H, W), in CamVid's layout."""
    for folder in ("train", "trainannot", "val", "valannot"):
        method = Image.Resampling.NEAREST if folder.endswith("annot") else Image.Resampling.BILINEAR
        (target / folder).mkdir(parents=True)
        for path in sorted((source / folder).iterdir())[:images]:
            with Image.open(path) as image:
                image.resize(size[::-1], method).save(target / folder / f"{path.stem}.png")


def cpu_seconds(command: Sequence[str], folder: str) -> float:
    """Return the CPU time of a command with one thread, and of its processes."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return used() - before


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare an epoch of ENet on CamVid with the loop of PyTorch-ENet.")
    parser.add_argument("--enet", type=Path, metavar="CLONE", required=True, help="clone of davidtvs/PyTorch-ENet")
    parser.add_argument(
        "--data", type=Path, metavar="CAMVID", required=True, help="holds train/, trainannot/, val/ ..."
    )
    parser.add_argument("--size", nargs=2, type=int, default=(180, 240), metavar=("H", "W"))
    parser.add_argument("--images", type=int, default=80, help="of each split")
    parser.add_argument("--epochs", type=int, default=3, help="of the longer training")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args(words)
    height, width = arguments.size
    found: dict[str, list[float]] = {"theirs": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        camvid = Path(folder, "camvid")
        write_resized(arguments.data, camvid, (height, width), arguments.images)

        def command(who: str, epochs: int) -> list[str]:
            if who == "theirs":
                script = Path(__file__).parent / "peer_training.py"
                return [str(script), str(arguments.enet.resolve()), str(camvid), str(epochs), str(BATCH)]
            options = (f"data.root={camvid}", f"data.image_size=[{height},{width}]", f"trainer.epochs={epochs}")
            return [str(ROOT / "train_segmentation.py"), *OURS, *options]

        for _ in range(arguments.rounds):
            for who, times in found.items():
                short, long = (cpu_seconds(command(who, epochs), folder) for epochs in (1, arguments.epochs))
                times.append((long - short) / (arguments.epochs - 1))
    theirs, ours = (statistics.median(times) for times in found.values())
    head = ["ENet epoch, CamVid", "theirs", "ours", "ours / theirs"]
    row = [f"{arguments.images} images of {height}x{width}", f"{theirs:.1f} s", f"{ours:.1f} s", f"{ours / theirs:.2f}"]
    print(table([head, row], "CPU time of one thread"))


if __name__ == "__main__":
    main()
