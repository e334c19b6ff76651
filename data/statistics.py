"""How often the classes of a data set occur."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.labels import IGNORE_INDEX, LabelSet
from data.samples import SegmentationDataset

NAMED = 8  # classes in a message


def count_pixels(dataset: SegmentationDataset, at_most: int = 1000) -> np.ndarray:
    """Pixels of each class in each image, int64 (images, C), ignored ones left out.

    Of more than `at_most` images, so many are looked at, evenly spread.
    """
    length = len(dataset)
    chosen = np.unique(np.linspace(0, length - 1, min(length, at_most)).round().astype(int)).tolist()

    def count(index: int) -> np.ndarray:
        return np.bincount(dataset[index].mask.ravel(), minlength=256)[: len(dataset.labels)]

    with ThreadPoolExecutor() as pool:
        counts = pool.map(count, chosen)
        bar = tqdm(counts, desc="counting classes", total=len(chosen), unit="img", leave=False, delay=1, disable=None)
        return np.stack(list(bar))


def class_fault(
    pixels: np.ndarray, labels: LabelSet, split: str, labels_file: Path | None = None, single: bool = False
) -> str | None:
    """Say why nothing can be learnt or measured on a split whose masks hold one class or none; None if they hold more.

    Args:
        pixels: int64 (samples, 256), of each train id in each mask.
        labels_file: what the user can name further ids in.
        single: whether one class is enough.
    """
    there = np.flatnonzero(pixels[:, : len(labels)].sum(0))
    masks = f"{len(pixels)} mask{'s' * (len(pixels) > 1)}"
    if not there.size:
        return (
            f"the split '{split}' has no labelled pixel: nothing but 255, which is ignored, in {masks}\n"
            "Check the masks, or choose another split with data.train_split and data.val_split"
        )
    if there.size > 1 or single:
        return None
    return (
        f"the split '{split}' has only one class: all labelled pixels of {masks} are"
        f" '{labels.names[there[0]]}'{_about_ignored(pixels, labels_file)}\n"
        "Check the masks and the labels, or pass data.allow_single_class=true if one class is meant"
    )


def absent_classes(
    pixels: np.ndarray, samples: int, labels: LabelSet, split: str, labels_file: Path | None = None
) -> str | None:
    """Name in one line the classes that do not occur in a split; None if all do.

    Args:
        pixels, labels_file: as in `class_fault`.
        samples: how many the split has; of larger ones only some were counted.
    """
    absent = [name for name, count in zip(labels.names, pixels.sum(0), strict=False) if not count]
    if not absent:
        return None
    where = f"in '{split}'" if len(pixels) >= samples else f"in {len(pixels)} of the {samples} samples of '{split}'"
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    names = ", ".join(absent[:NAMED])
    return f"classes that do not occur {where}: {names}{more}{_about_ignored(pixels, labels_file)}"


def _about_ignored(pixels: np.ndarray, labels_file: Path | None) -> str:
    """What may be the class that is missed, where the user named the ids."""
    masks = int((pixels[:, IGNORE_INDEX] > 0).sum())
    if not masks or labels_file is None:
        return ""
    where = f"{masks} mask{'s' * (masks > 1)}"
    return f"; 255 (or white) occurs in {where} and is ignored: name it in {labels_file} if it is a class"
