"""CamVid in the SegNet layout: Brostow et al. 2009, "Semantic object classes in video"; 11 classes as
in Badrinarayanan et al. 2017, "SegNet", arXiv 1511.00561."""

from __future__ import annotations

import math

import numpy as np

from data.images import IMAGE_SUFFIXES
from data.labels import LabelSet, lookup_table
from data.pairs import MASK_SUFFIXES, PairedFiles, files_by_stem, match, pick
from utils.errors import NotThere
from utils.paths import is_folder, user_path

LABELS = LabelSet(
    names=("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
VOID = 11
TRAIN_IDS = lookup_table({i: i for i in range(len(LABELS))}, ignored=(VOID, LABELS.ignore_index))
COLORS = {color: i for i, color in enumerate(LABELS.colors)} | {(0, 0, 0): VOID}
SPLITS = ("train", "val", "test")


class CamVid(PairedFiles):
    """Street scenes of 360x480 with 11 classes; raw id 11 (void) becomes 255.

    Args:
        root: holds `train/`, `trainannot/`, `val/`, `valannot/` ...; images and masks match by stem.
        split: `train`, `val` or `test`.

    Raises:
        UserError: the split does not exist, or CamVid is not there.
    """

    splits = SPLITS

    def __init__(self, root: str, split: str) -> None:
        folder, annotations = pick(split, SPLITS, "CamVid"), f"{split}annot"
        place = user_path(root, "data.root")
        for path in (place / folder, place / annotations):
            if not is_folder(path):
                raise NotThere(
                    f"CamVid was not found: there is no folder {path}\n"
                    "Get its SegNet version (folders train/ trainannot/ val/ valannot/) and say data.root=<where it is>"
                )
        images = files_by_stem(place, folder, IMAGE_SUFFIXES)
        pairs, faults = match(place, images, files_by_stem(place, annotations, MASK_SUFFIXES), (folder, annotations))
        super().__init__(place, pairs, LABELS, TRAIN_IDS, COLORS, faults)

    def scores(self) -> CamVidScores:
        """What publications report, by the two ways of dealing with void pixels."""
        return CamVidScores()


class CamVidScores:
    """Published tables differ in what they make of a class that is predicted on a void pixel: nothing, or a mistake."""

    def add(self, index: int, prediction: np.ndarray) -> None:
        """Nothing is needed but the counts."""

    def results(self, confusion: np.ndarray, ignored: np.ndarray) -> dict[str, float]:
        """Both mean IoUs, and the class-average accuracy; classes without any pixel are left out of the means.

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


def _mean_ratio(parts: np.ndarray, wholes: np.ndarray) -> float:
    """Mean of parts / wholes where there is a whole; NaN if nowhere."""
    there = wholes > 0
    return float((parts[there] / wholes[there]).mean()) if there.any() else math.nan
