"""Checkpoints for evaluate.py, and the command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.labels import LabelSet
from engine.checkpoint import save_checkpoint
from engine.normalization import Normalization
from evaluate import evaluate
from inference.predictor import Predictor
from models.enet import ENet
from tests.in_process import run_here

SIZE = [32, 48]
"""Of the input of the networks made here: other than that of any mask, so that all is resized."""
LOADER = {"train_split": "train", "val_split": "val", "image_size": SIZE, "batch_size": 2, "num_workers": 0,
          "cache": "none", "augment_on": "auto", "limit": None, "allow_single_class": False,
          "fit": "stretch", "crop_size": SIZE, "sampling": "uniform", "sampling_temperature": 0.01,
          "folds": None, "fold": 0, "group_by": None, "fold_seed": 0}  # fmt: skip


def evaluate_here(*words: str, cwd: Path, draws: bool = False) -> subprocess.CompletedProcess:
    """Run evaluate.py in this process on the CPU, which gives the same result on every machine."""
    device = [] if any(word.startswith("device=") for word in words) else ["device=cpu"]
    return run_here(evaluate, "evaluate", *device, *words, cwd=cwd, draws=draws)


def write_network(path: Path, labels: LabelSet, data: dict[str, Any], photos: list[np.ndarray]) -> Path:
    """Write a checkpoint of an untrained ENet that predicts many classes for these photos."""
    torch.manual_seed(0)
    model = ENet(num_classes=len(labels))
    arguments = {"model": {"_target_": "models.enet.ENet"}, "data": {**LOADER, **data}}
    content = {
        "config": arguments,
        "labels": labels.to_dict(),
        "normalization": Normalization().to_dict(),
        "image_size": SIZE,
        "epoch": 3,
    }
    save_checkpoint(path, {**content, "model": model.state_dict()})
    predictor = Predictor.from_checkpoint(path)
    images = torch.from_numpy(np.stack([photo[: SIZE[0], : SIZE[1]] for photo in photos])).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = predictor.model(predictor.normalization(images))
        weights = model.state_dict()
        spread = logits.std((0, 2, 3))
        weights["fullconv.weight"] /= spread[None, :, None, None]
        weights["fullconv.bias"] -= logits.mean((0, 2, 3))
        weights["fullconv.bias"] /= spread
    save_checkpoint(path, {**content, "model": weights})
    return path
