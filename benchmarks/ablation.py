"""Train one change at a time on CamVid's train_dev split, and write docs/ablation.md.

python -m benchmarks.ablation                                       # write the page from results/ablation.json
python -m benchmarks.ablation --data datasets/camvid                # train what is missing first; takes hours
python -m benchmarks.ablation --data datasets/camvid --only espnet  # one network, or one/change

Finished runs in experiments/ are not trained again, interrupted ones go on. To store what is finished and write the
page, pass `--keep`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.result_files import markdown_table, mean_and_spread

ROOT = Path(__file__).parent.parent
REMARKS = ROOT / "results" / "ablation_remarks.md"
STORED, PAGE = ROOT / "results" / "ablation.json", ROOT / "docs" / "ablation.md"
SEEDS = (0, 1)
RARE = "pole,sign,fence,car,pedestrian,bicyclist"
TEACHER = ("scale", "S2")
BASELINE = "baseline"
OF_SUMMARY = ("seed", "seconds", "parameters", "macs", "environment")


class Network(NamedTuple):
    """A network with its changes; the first is what the others are compared with."""

    title: str
    base: tuple[str, ...]
    changes: dict[str, tuple[str, ...]]


LEVERS: dict[str, tuple[str, ...]] = {
    "soft-IoU beside cross-entropy": ("loss=ce_iou", "loss.class_weights=null"),
    "class weights": ("loss.class_weights=enet",),
    "OHEM": ("loss=ohem",),
    "label smoothing": ("loss.label_smoothing=0.1",),
    "rare-class sampling": ("data.sampling=rare_class",),
    "copy-paste": ("augmentation=copy_paste", f"augmentation.classes=[{RARE}]"),
    "crops of full photos": ("augmentation=crop", "augmentation.scale_range=[0.3,0.6]"),
    "EMA": ("trainer.ema=true", "trainer.ema_decay=0.99"),
    "distillation": ("distill=channel",),
}
LITE = ("model.encoder_weights=imagenet", "optimizer.lr=0.001", "trainer.epochs=10")
NETWORKS = {
    "scale": Network(
        "ESPNet by scale, encoders with ImageNet weights",
        LITE,
        {f"S{n}": (f"model=espnet_s{n}", f"model.encoder=efficientnet_lite{n}") for n in range(3)},
    ),
    "enet": Network(
        "ENet, from scratch", ("model=enet", "optimizer.lr=0.002", "trainer.epochs=30"), {BASELINE: (), **LEVERS}
    ),
    "espnet": Network(
        "ESPNet S0 with EfficientNet-Lite0",
        ("model=espnet_s0", "model.encoder=efficientnet_lite0", *LITE),
        {
            BASELINE: (),
            "without ImageNet weights": ("model.encoder_weights=null",),
            "encoder rate 0.1": ("optimizer.encoder_lr_factor=0.1",),
            **LEVERS,
        },
    ),
}


def run_name(network: str, change: str, seed: int) -> str:
    """Return the name under which a change is trained."""
    return f"ablation-{network}-{change}-{seed}".replace(" ", "_").replace(".", "")


def find(network: str, change: str, seed: int) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest run of a change and its summary."""
    for path in sorted((ROOT / "experiments").glob(f"*_{run_name(network, change, seed)}/summary.json"), reverse=True):
        return path.parent, json.loads(path.read_text())
    return None


def command(network: str, change: str, seed: int, data: str) -> list[str] | None:
    """Return the command that trains a change or resumes its training; None if it has finished."""
    words = [sys.executable, "train_segmentation.py"]
    if found := find(network, change, seed):
        return None if found[1]["status"] == "finished" else [*words, f"resume={found[0]}"]
    words += ["experiment=camvid_ablation", *NETWORKS[network].base, *NETWORKS[network].changes[change]]
    if change == "distillation":
        teacher = find(*TEACHER, 0)
        if teacher is None or teacher[1]["status"] != "finished":
            sys.exit(f"the teacher comes first: python -m benchmarks.ablation --data {data} --only {'/'.join(TEACHER)}")
        words.append(f"distill.teacher={teacher[0]}")
    return [*words, f"data.root={data}", f"seed={seed}", f"name={run_name(network, change, seed)}"]


def train(data: str, only: str) -> None:
    """Train all changes with all seeds, the first seed of each first."""
    for seed, network in itertools.product(SEEDS, NETWORKS):
        for change in NETWORKS[network].changes:
            if f"{network}/{change}".startswith(only) and (words := command(network, change, seed, data)):
                print(network, change, seed, flush=True)
                subprocess.run(words, cwd=ROOT, check=True)


def keep() -> None:
    """Store what the page needs of the finished runs in experiments/."""
    stored = {(row["network"], row["change"], row["seed"]): row for row in read()}
    for network, (_, base, changes) in NETWORKS.items():
        for change, seed in itertools.product(changes, SEEDS):
            found = find(network, change, seed)
            if found and found[1]["status"] == "finished":
                summary = found[1]
                row = {"network": network, "change": change, "keys": " ".join([*base, *changes[change]])}
                row |= {key: summary[key] for key in OF_SUMMARY} | {"miou": summary["last"]["val/miou"]}
                stored[network, change, seed] = row
    STORED.write_text(json.dumps([stored[key] for key in sorted(stored)], indent=1) + "\n")


def read() -> list[dict[str, Any]]:
    """Return the stored runs."""
    return json.loads(STORED.read_text()) if STORED.exists() else []


def page(rows: list[dict[str, Any]]) -> str:
    """Return docs/ablation.md."""
    parts = [INTRODUCTION, REMARKS.read_text()] if rows else [INTRODUCTION]
    for name, network in NETWORKS.items():
        runs = {change: _by_seed(rows, name, change) for change in network.changes}
        runs = {change: seeds for change, seeds in runs.items() if seeds}
        if not runs:
            continue
        first = next(iter(runs))
        table = [["change", "keys", "mIoU", f"against {first}", "seeds", "parameters", "MACs"]]
        for change, seeds in runs.items():
            keys = " ".join(f"`{word}`" for word in network.changes[change])
            scores = [100 * row["miou"] for row in seeds.values()]
            size = next(iter(seeds.values()))
            cost = [f"{size['parameters'] / 1e6:.2f} M", f"{size['macs'] / 1e9:.2f} G"]
            against = "" if change == first else _difference(seeds, runs[first])
            table.append([change, keys, mean_and_spread(scores), against, str(len(seeds)), *cost])
        base = " ".join(f"`{word}`" for word in network.base)
        parts += [f"## {network.title}\n", f"All with {base}.\n"]
        parts += [markdown_table(table, left=2) + "\n"]
    return "\n".join(parts)


def _by_seed(rows: list[dict[str, Any]], network: str, change: str) -> dict[int, dict[str, Any]]:
    return {row["seed"]: row for row in rows if (row["network"], row["change"]) == (network, change)}


def _difference(seeds: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]]) -> str:
    """Return the mean difference over the seeds that both have, and the difference of each seed."""
    both = [100 * (seeds[seed]["miou"] - first[seed]["miou"]) for seed in seeds if seed in first]
    if not both:
        return ""
    return f"{statistics.mean(both):+.1f} ({', '.join(f'{value:+.1f}' for value in both)})"


INTRODUCTION = """# Ablation

Read this page before you choose options for a small network: what each one changed, one at a time.

- CamVid at 144x192, 11 classes, trained on `train_dev` (266 photos) and measured on `dev` (101 photos), a sequence that
  is not in it. mIoU in percent, of the weights after the last epoch; ± is the standard deviation over seeds.
- `against` is the mean difference, and the difference for each seed. Differences that the seeds do not agree on mean
  nothing, and two seeds are few.
- Trainings are short and small (`conf/experiment/camvid_ablation.yaml`), so that all of them fit into an afternoon on
  one CPU core. What prevents overfitting, or needs long to learn, gains less here than in a long training.
- The teacher of the distillation is ESPNet S2 of the first table, seed 0.
- Repeat it with `python -m benchmarks.ablation --data <path of CamVid>`; this page is written by the same script from
  `results/ablation.json`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CAMVID", help="folder of CamVid: train what is missing")
    parser.add_argument("--only", default="", metavar="NETWORK[/CHANGE]", help="train only what begins so")
    parser.add_argument("--keep", action="store_true", help="store the finished runs of experiments/")
    given = parser.parse_args()
    if given.data:
        train(given.data, given.only)
    if given.data or given.keep:
        keep()
    PAGE.write_text(page(read()))


if __name__ == "__main__":
    main()
