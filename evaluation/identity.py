"""What makes two measurements the same: weights, photos, and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.names import measured_keys

SAME = ("weights", "photos", "split", "tta", "window", "overlap")
"""Keys of an evaluation's JSON file that must be equal, besides those of `data`."""
SHOWN = ("miou", "dice", "pixel_accuracy", "boundary_iou")
"""Keys of its metrics that `evaluate.py runs=` prints."""


def weights_digest(networks: Iterable[Mapping[str, Tensor]]) -> str:
    """Return a hash of the weights of one or several networks: names, types, shapes and values."""
    digest = hashlib.sha256()
    for weights in networks:
        for name, tensor in weights.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def result_of(folder: Path, stem: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of `<stem>.json` if it is a complete result of this measurement; else None.

    Args:
        facts: values that the file has for this measurement.
    """
    try:
        found = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
        return None
    same = all(found.get(key) == facts[key] for key in SAME)
    same = same and measured_keys(found["data"]) == measured_keys(facts["data"])
    same = same and all(key in found and isinstance(found[key], int | float | None) for key in SHOWN)
    return found if same and (folder / f"{stem}_counts.npz").is_file() else None
