"""COCO 2017: Lin et al. 2014, "Microsoft COCO: Common Objects in Context", arXiv 1405.0312."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
from pycocotools import mask as rle

from data.coco_index import load_index
from data.images import read_image
from data.labels import LabelSet, voc_colors
from data.pairs import pick
from data.samples import Sample
from data.voc import LABELS as VOC_LABELS
from utils.errors import DataFault, MissingPair, NotThere, SizeMismatch, Unreadable
from utils.paths import is_file, is_folder, user_path

CATEGORIES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip
"""Category ids of the annotations; ten of 1 to 90 are unused."""

LABELS = LabelSet(("background", *CATEGORIES.values()), voc_colors(81), (0, *CATEGORIES))
# VOC's names for the same things, where they differ.
IN_VOC = {"airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa", "tv": "tv monitor"}
SPLITS = ("train", "val")


class COCO:
    """Photos of everyday scenes with 80 kinds of things, and background.

    Larger regions are painted first, so that a cup stays visible on its table. Regions that stand for a crowd are
    ignored (255), since what is in them was not outlined.

    Args:
        root: holds `annotations/`, `train2017/` and `val2017/`.
        split: `train` (118,287) or `val` (5,000).
        classes: 81, or the 21 of Pascal VOC: regions of other things are not painted then, and photos without any
            of the 20 are left out.
        download: fetch what is missing of the split, 19 GB for `train` and 1 GB for `val`.

    Raises:
        UserError: the split does not exist, or COCO is not there or not as it should be and cannot be fetched.
    """

    splits = SPLITS

    def __init__(self, root: str, split: str, classes: Literal[21, 81] = 81, download: bool = False) -> None:
        self.root, self.labels = user_path(root, "data.root"), LABELS if classes == 81 else VOC_LABELS
        self._folder = f"{pick(split, SPLITS, 'COCO')}2017"
        annotations = self.root / "annotations" / f"instances_{self._folder}.json"
        if download:
            from data.coco_download import download_coco

            download_coco(self.root, split)
        for path in (annotations, self.root / self._folder):
            if not (is_file(path) if path == annotations else is_folder(path)):
                raise NotThere(
                    f"COCO 2017 was not found: there is no {path}\n"
                    f"Say data.root=<what holds annotations/ and {self._folder}/>, or data.download=true to fetch it"
                )
        self._index = load_index(annotations, _train_ids(self.labels), all_photos=classes == 81)
        there = {path.name for path in (self.root / self._folder).iterdir()}
        self._places = np.array([i for i, name in enumerate(self._index.names) if name in there], np.int64)
        self.faults: list[DataFault] = [
            MissingPair(f"{self.root / self._folder / name}: {annotations} lists it, but it is not there")
            for name in self._index.names
            if name not in there
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        (path,) = self.files(index)
        image = read_image(path)
        if image.shape[:2] != self.size(index):
            height, width = self.size(index)
            raise SizeMismatch(f"{path} is {image.shape[1]}x{image.shape[0]}, but {width}x{height} in its annotation")
        try:
            mask = paint(json.loads(self._index.regions[self._places[index]]), *image.shape[:2])
        except Exception as error:  # what pycocotools raises for a malformed outline is not documented
            raise Unreadable(f"{path}: its outlines in the annotations cannot be painted ({error})") from error
        return Sample(image, mask, self.name(index))

    def name(self, index: int) -> str:
        """The photo's path below the root."""
        return f"{self._folder}/{self._index.names[self._places[index]]}"

    def files(self, index: int) -> list[str]:
        return [f"{self.root}/{self.name(index)}"]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width, as the annotations say."""
        height, width = self._index.sizes[self._places[index]].tolist()
        return height, width


def _train_ids(labels: LabelSet) -> dict[int, int]:
    """Category id -> train id, 0 for what is not in the label set."""
    places = {name: i for i, name in enumerate(labels.names)}
    voc = {category: IN_VOC.get(name, name) for category, name in CATEGORIES.items()}
    names = CATEGORIES if len(labels) == len(LABELS) else voc
    return {category: places.get(name, 0) for category, name in names.items()}


def paint(regions: list[tuple[int, Any]], height: int, width: int) -> np.ndarray:
    """The mask uint8 (height, width) of regions (train id, polygons or run lengths), each over those before it."""
    mask = np.zeros((height, width), np.uint8)
    for label, outline in regions:
        if isinstance(outline, list):  # polygons
            encoded = rle.merge(rle.frPyObjects(outline, height, width))
        elif isinstance(outline["counts"], list):  # run lengths
            encoded = rle.frPyObjects(outline, height, width)
        else:
            encoded = outline
        mask[rle.decode(encoded).astype(bool)] = label
    return mask
