"""infer.py: a folder of photos against only the network, the first mask against the import of torch, and the peak
memory for a huge photo.

python -m benchmarks.inference
python -m benchmarks.inference --huge 20000    # width and height of that photo
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.timing import alternating, interleaved
from data.labels import IGNORE_INDEX
from data.synthetic import Synthetic
from engine.checkpoint import save_checkpoint
from engine.normalization import IMAGENET
from inference.photos import segment
from inference.plan import plan_photos
from inference.predictor import Predictor
from models.enet import ENet
from utils.memory import keep_freed_memory
from utils.tables import table
from utils.text import plural

ROOT = Path(__file__).resolve().parent.parent
SIZE, PHOTO, PHOTOS, STEPS, ROUNDS, STARTS = (512, 512), (480, 640), 80, 60, 5, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--huge", type=int, default=10_000, help="width and height of the huge photo")
    side = parser.parse_args().huge
    keep_freed_memory()  # as in infer.py, like the next line
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_checkpoint(folder / "enet.pt")
        write_photos(folder / "photos")
        peak = peak_for_huge_photo(folder, checkpoint, side)
        rows = [["", "one", "the other", "ratio"], *rates(folder, checkpoint), start(folder, checkpoint)]
    print(
        f"{side}x{side} through windows of {SIZE[0]}x{SIZE[1]} to a mask and an overlay: {peak / 2**30:.2f} GiB at most"
    )
    print(table(rows, f"ENet, {SIZE[0]}x{SIZE[1]}, {plural(torch.get_num_threads(), 'thread')}"))


def write_checkpoint(path: Path) -> Path:
    """Train ENet for some steps: masks of an untrained network are noise, which is slow to write as PNG."""
    torch.manual_seed(0)
    scenes = Synthetic((120, 160), "train")
    model = ENet(len(scenes.labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004)
    for step in range(STEPS):
        some = [scenes[(8 * step + i) % len(scenes)] for i in range(8)]
        images = IMAGENET(torch.from_numpy(np.stack([scene.image for scene in some])).permute(0, 3, 1, 2))
        masks = torch.from_numpy(np.stack([scene.mask for scene in some])).long()
        optimizer.zero_grad()
        F.cross_entropy(model(images), masks, ignore_index=IGNORE_INDEX).backward()
        optimizer.step()
    content = {
        "config": {"model": {"_target_": "models.enet.ENet"}},
        "model": model.state_dict(),
        "labels": scenes.labels.to_dict(),
        "normalization": IMAGENET.to_dict(),
        "image_size": list(SIZE),
    }
    save_checkpoint(path, content)
    return path


def write_photos(folder: Path) -> None:
    """Write generated scenes as JPEGs."""
    folder.mkdir()
    scenes = Synthetic(PHOTO, "train")
    for i in range(PHOTOS):
        photo = cv2.cvtColor(scenes[i % 20].image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{i:03}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])


def peak_for_huge_photo(folder: Path, checkpoint: Path, side: int) -> int:
    """Return the peak resident memory of infer.py for a photo of `side` x `side`, in bytes. Needs Linux."""
    photo = folder / "huge.jpg"
    scene = cv2.cvtColor(Synthetic((1000, 1000), "train")[0].image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(photo), np.tile(scene, (side // 1000, side // 1000, 1)))
    words = [
        f"checkpoint={checkpoint}",
        f"input={photo}",
        "format=[mask,overlay]",
        f"window={list(SIZE)}",
        "overlap=0",
    ]
    with subprocess.Popen([sys.executable, "infer.py", *words], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("infer.py failed")
    return usage.ru_maxrss * 1024


def rates(folder: Path, checkpoint: Path) -> list[list[str]]:
    """Compare photos to masks, and to masks and overlays, with only the network; in images per second."""
    predictor = Predictor.from_checkpoint(checkpoint)
    image = torch.randn(1, 3, *SIZE)

    def network() -> None:
        with torch.inference_mode():
            for _ in range(PHOTOS):
                predictor.model(image)

    kinds = {"masks": ["mask"], "masks and overlays": ["mask", "overlay"]}
    plans = {name: plan_photos(str(folder / "photos"), str(folder / name), formats) for name, formats in kinds.items()}
    work = {"network": network} | {name: lambda plan=plan: segment(plan, predictor) for name, plan in plans.items()}
    times = alternating(work, ROUNDS, warmup=0)
    rate = {name: PHOTOS / statistics.median(seconds) for name, seconds in times.items()}
    ratio = {  # within a round, because the machine may be slower in another
        name: statistics.median(alone / seconds for alone, seconds in zip(times["network"], times[name], strict=True))
        for name in kinds
    }
    return [
        [
            f"{PHOTOS} JPEGs of {PHOTO[1]}x{PHOTO[0]} to {name} / network only",
            f"{rate[name]:.2f} img/s",
            f"{rate['network']:.2f} img/s",
            f"{ratio[name]:.2f}",
        ]
        for name in kinds
    ]


def start(folder: Path, checkpoint: Path) -> list[str]:
    """Compare the seconds from the command to the first mask with those of importing torch."""
    photo = folder / "photos" / "000.jpg"
    infer = [
        "infer.py",
        f"checkpoint={checkpoint}",
        f"input={photo}",
        f"output={folder / 'first.png'}",
        "overwrite=true",
    ]

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)

    ours, theirs = interleaved(
        {"infer": lambda: run(*infer), "torch": lambda: run("-c", "import torch")}, STARTS, 0
    ).values()
    return ["infer.py, one photo / import torch", f"{ours:.2f} s", f"{theirs:.2f} s", f"{ours / theirs:.2f}"]


if __name__ == "__main__":
    main()
