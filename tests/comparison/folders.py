"""Run folders written by hand."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from comparison.report import write_report
from comparison.runs import Run, read_runs
from data.labels import LabelSet
from utils.run_folder import RunFolder
from visualization.sample_pictures import Predicted, write_samples

CONFIG: dict[str, Any] = {
    "seed": 0,
    "name": None,
    "model": {"_target_": "models.enet.ENet", "dropout": 0.1},
    "data": {"_target_": "data.synthetic.Synthetic", "image_size": [96, 128]},
    "augmentation": {"_target_": "data.augmentation.Augmentation", "transforms": [{"height": 96, "p": 0.5}]},
    "loss": {"_target_": "losses.combinations.ce_iou", "weights": {"cross_entropy": 1.0}},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.004},
    "trainer": {"_target_": "engine.trainer.Trainer", "epochs": 2},
}


def make_run(folder: Path, miou: float | None = 0.5, options: dict | None = None, **changes: Any) -> Path:
    """Write a run folder; `optimizer__lr=0.1` sets a key of its config."""
    folder.mkdir(parents=True)
    config = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    best = {"epoch": 2, "val/miou": miou, "val/dice": 0.6, "val/iou/sky": 0.9, "val/iou/pole": None}
    summary = {
        "status": "finished",
        "parameters": 360_000,
        "macs": 2e8,
        "seconds": 75.2,
        "best": best if miou is not None else None,
        "last": {"images_per_second": 12.34},
        "options": options or {group: _class_of(config[group]) for group in ("model", "data", "loss")},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def runs_in(folder: Path) -> list[Run]:
    """Return the runs in a folder, in which there is nothing else."""
    runs, skipped = read_runs([folder])
    assert skipped == []
    return runs


def _class_of(node: dict[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


NASTY = "<img src=x onerror=alert(1)>"
MIOUS = {"enet": [0.1, 0.3, 0.5], "unet": [0.2, 0.4, 0.7], NASTY: [0.05, 0.2, 0.3]}
"""Runs of the report that is opened in a browser, by name: mIoU of each epoch."""
LABELS = LabelSet(("sky", "road", "car"), ((70, 130, 180), (128, 64, 128), (0, 0, 142)))


def change_summary(run: Path, **values: Any) -> None:
    """Set values of summary.json."""
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def add_metrics(run: Path, columns: dict[str, Sequence[float | None]]) -> None:
    """Write metrics.csv; None is an empty cell."""
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if v is None else v for v in row] for row in zip(*columns.values(), strict=True)])


def add_figures(run: Path, samples: Sequence[Predicted], counts: Sequence[Sequence[int]] | None = None) -> None:
    """Write the files in figures/ that reports read."""
    RunFolder(run).write_confusion(LABELS.names, counts or [[8, 1, 1], [0, 10, 0], [2, 2, 6]])
    write_samples(samples, LABELS, run / "figures" / "samples")


def scene(number: int, seed: int, height: int = 24, width: int = 32) -> Predicted:
    """Return a sample that depends on its number, with a prediction that also depends on the seed."""
    world, guess = np.random.default_rng(number), np.random.default_rng((number, seed))
    truth = np.repeat(np.sort(world.integers(0, 3, height)), width).reshape(height, width).astype(np.uint8)
    edge = guess.integers(-3, 4, width)
    prediction = np.stack([np.roll(truth[:, x], edge[x]) for x in range(width)], 1)
    image = world.integers(60, 200, (height, width, 3)).astype(np.uint8)
    return Predicted(number, f"val/{number:05}", image, truth, prediction)


def data_of(folder: Path, **choices: Any) -> dict[str, Any]:
    """Return the data of a report on the runs in a folder."""
    runs, skipped = read_runs([folder])
    path = folder.parent / "report.html"
    size = write_report(path, runs, skipped, "experiments", **choices)
    assert size == path.stat().st_size
    return embedded_in(path)


def embedded_in(path: Path) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert len(found) == 1
    return json.loads(found[0])


def add_evaluation(run: Path, stem: str, intersections: np.ndarray, unions: np.ndarray, epoch: int = 2) -> float:
    """Write an evaluation of photos 0, 1 ... with the pixels of each class, int64 (N, C), and return its mIoU."""
    (run / "evaluation").mkdir(exist_ok=True)
    totals = intersections.sum(0) / unions.sum(0)
    classes = dict(zip(LABELS.names, totals.tolist(), strict=True))
    content = {"miou": float(totals.mean()), "boundary_iou": 0.25, "epoch": epoch, "classes": {"iou": classes}}
    (run / "evaluation" / f"{stem}.json").write_text(json.dumps(content))
    names = np.array([f"photo {i}" for i in range(len(unions))])
    np.savez_compressed(
        run / "evaluation" / f"{stem}_counts.npz",
        names=names,
        classes=np.array(LABELS.names),
        intersections=intersections.astype(np.int64),
        unions=unions.astype(np.int64),
    )
    return float(totals.mean())
