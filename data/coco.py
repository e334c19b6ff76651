"""COCO 2017, and annotations of its form.

Lin et al. 2014, "Microsoft COCO: Common Objects in Context", arXiv 1405.0312.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np

from data.coco_index import Id, Index, left_out_text, load_categories, load_index
from data.coco_outlines import paint
from data.images import read_image, stored_size
from data.labels import LabelSet, voc_colors
from data.samples import Sample, SegmentationDataset
from data.splits import named_as, same_split
from data.voc import LABELS as VOC_LABELS
from utils.errors import DataFault, MissingPair, NotThere, SizeMismatch, Unreadable, UserError
from utils.paths import files_below, is_file, is_folder, user_path
from utils.text import cleaned, enumeration, one_line, plural

log = logging.getLogger(__name__)

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
BACKGROUND = "background"
ADDRESS = "http://images.cocodataset.org"
ARCHIVES = {
    "annotations": ("annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
    "train2017": ("zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    "val2017": ("zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
}
"""Path and md5 of each archive, by the folder that it holds."""


class COCO(SegmentationDataset):
    """Photos of everyday scenes with 80 kinds of things, and background; or a user's own, in the same form.

    The `categories` of the annotations decide the classes. COCO's own are recognised by their names, whatever their
    ids. If there are other names, the classes are background and the categories of both splits.

    Larger regions are painted first, so that a cup stays visible on its table. Crowds (`iscrowd`) of COCO's categories
    are ignored (255), since their members were not outlined. Those of other categories are painted like other regions,
    because CVAT marks everything drawn with a brush so. Annotations that cannot be used are left out with a warning.

    Args:
        root: holds `annotations/`, `train2017/` and `val2017/`, or an export of CVAT or Roboflow.
        split: `train` (118,287) or `val` (5,000).
        classes: 81, or the 21 of Pascal VOC: regions of other things are not painted then, and photos without any
            of the 20 are left out. Categories of the user's own are always used as they are.
        download: download what is missing of the split, 19 GB for `train` and 1 GB for `val`.

    Raises:
        UserError: the split does not exist, or COCO is not there or not as it should be and cannot be downloaded.
    """

    root: Path

    def __init__(self, root: str, split: str, classes: Literal[21, 81] = 81, download: bool = False) -> None:
        self.root = user_path(root, "data.root")
        annotations, self._folder = _files_of(self.root, self.known_split(split))
        if download:
            download_coco(self.root, split)
        photos = self.root / self._folder
        for path, is_there in ((annotations, is_file(annotations)), (photos, is_folder(photos))):
            if not is_there:
                only_train = split != "train" and is_file(_files_of(self.root, "train")[0])
                raise NotThere(
                    f"COCO 2017 was not found: there is no {path}{_under_another_name(self.root, split)}\n"
                    f"Pass data.root=<what holds annotations/ and {self._folder}/>, or data.download=true"
                    + ("; to validate on a part of 'train', pass data.folds=5 data.fold=0" if only_train else "")
                )
        index = load_index(annotations)
        self.labels = _label_set(self.root, index, split, classes)
        self._train_ids = train_ids((name for _, name in index.categories), self.labels)
        self._ignores_crowds = self.labels in (LABELS, VOC_LABELS)
        _warn(annotations, index, self._ignores_crowds)
        self._names, self._sizes, self._regions = index.names, index.sizes, index.regions
        found = photos_below(photos, list(index.names))
        places = sorted(found)
        if classes == 21:
            painted = [train_id is not None for train_id in self._train_ids]
            places = [place for place in places if index.present[place, painted].any()]
        self._places = np.array(places, np.int64)
        self._elsewhere = {place: path for place, path in found.items() if path != index.names[place]}
        self._damaged = dict(reversed(index.faults))
        self.faults: list[DataFault] = [
            MissingPair(cleaned(f"{photos / name}: {annotations} lists it, but it is not there"))
            for place, name in enumerate(index.names)
            if place not in found
        ]
        self.faults += [Unreadable(fault) for _, fault in index.faults]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        place = int(self._places[index])
        if place in self._damaged:
            raise Unreadable(self._damaged[place])
        (path,) = self.files(index)
        image = read_image(path)
        if image.shape[:2] != self.size(index):
            height, width = self.size(index)
            message = f"{path} is {image.shape[1]}x{image.shape[0]}, but {width}x{height} in its annotation"
            if stored_size(path) == (height, width):
                message += ": the photo is turned by its EXIF tag; save it without the tag"
            raise SizeMismatch(message)
        regions = []
        for category, crowd, outline in json.loads(self._regions[place]):
            train_id = self._train_ids[category]
            if train_id is not None:
                ignored = crowd and self._ignores_crowds
                regions.append((self.labels.ignore_index if ignored else train_id, outline))
        return Sample(image, paint(regions, *image.shape[:2]), self.name(index))

    def name(self, index: int) -> str:
        """Return the photo's path below the root."""
        place = int(self._places[index])
        return f"{self._folder}/{self._elsewhere.get(place) or self._names[place]}"

    def files(self, index: int) -> list[str]:
        return [f"{self.root}/{self.name(index)}"]

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width from the annotations."""
        height, width = self._sizes[self._places[index]].tolist()
        return height, width


def download_coco(root: Path, split: str) -> None:
    """Download the annotations and the photos of a split, unless they are there; errors as for `fetch_archive`."""
    from data.download import fetch_archive  # slow to import

    photos, outlines = root / f"{split}2017", root / "annotations" / f"instances_{split}2017.json"
    for folder, is_there in (
        ("annotations", outlines.is_file),
        (photos.name, lambda: photos.is_dir() and any(photos.iterdir())),
    ):
        path, md5 = ARCHIVES[folder]
        fetch_archive(f"{ADDRESS}/{path}", md5, root, is_there)


def train_ids(categories: Iterable[str], labels: LabelSet) -> list[int | None]:
    """Return the train id of each category; None if it is not in the label set."""
    places = {name: i for i, name in enumerate(labels.names)}
    if labels is VOC_LABELS:
        places |= {coco: places[voc] for coco, voc in IN_VOC.items()}
    return [0 if name.lower() == BACKGROUND else places.get(name) for name in categories]


def photos_below(folder: Path, names: Sequence[str]) -> dict[int, str]:
    """Return the paths of photos below a folder by their places in `names`, without those that are missing.

    A name may begin with more folders than the path, or with fewer, or differ in case or Unicode form (NFC, NFD),
    if only one file fits.
    """
    there = set(files_below(folder))
    found = {
        i: name
        for i, name in enumerate(names)
        if name in there or os.path.isfile(f"{folder}/{name}")  # noqa: PTH113 - for 100,000 files, Path takes longer
    }
    if len(found) == len(names):
        return found
    whole: dict[str, list[str]] = {}
    endings: dict[str, list[str]] = {}
    for path in there - set(found.values()):
        plain = normalize("NFC", path).casefold()
        whole.setdefault(plain, []).append(path)
        for ending in _endings(plain):
            endings.setdefault(ending, []).append(path)
    claims: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if i not in found:
            wanted = normalize("NFC", name.replace("\\", "/").removeprefix("./")).casefold()
            meant = endings.get(wanted) or next((whole[e] for e in _endings(wanted) if e in whole), [])
            if len(meant) == 1:
                claims.setdefault(meant[0], []).append(i)
    return found | {claimed[0]: path for path, claimed in claims.items() if len(claimed) == 1}


def _files_of(root: Path, split: str) -> tuple[Path, str]:
    """Return the annotation file of a split and the folder of its photos, relative to the root.

    CVAT writes `annotations/instances_<split>.json` and `images/<split>/` (or `images/`), Roboflow
    `<split>/_annotations.coco.json` among the photos. Splits may have other names (`data.splits.SYNONYMS`).
    """
    usual = root / "annotations" / f"instances_{split}2017.json"
    if is_file(usual):
        return usual, f"{split}2017"
    exports = sorted(usual.parent.glob("instances_*.json"))
    cvat = [path for path in exports if same_split(path.stem.removeprefix("instances_")) == split]
    if len(cvat) > 1:
        raise UserError(f"{cvat[0]} and {cvat[1]}: which of them is the split '{split}'? Rename or remove one")
    if cvat:
        photos = named_as(split, root / "images")
        return cvat[0], f"images/{photos}" if photos else "images"
    roboflow = named_as(split, root)
    if roboflow and is_file(root / roboflow / "_annotations.coco.json"):
        return root / roboflow / "_annotations.coco.json", roboflow
    return usual, f"{split}2017"


def _under_another_name(root: Path, split: str) -> str:
    """Return the end of a message that names the only other JSON file, such as CVAT's `instances_default.json`."""
    known = [_files_of(root, name)[0] for name in COCO.splits]
    there = {path for folder in (root, root / "annotations") for path in folder.glob("[!.]*.json")}.difference(known)
    new = root / "annotations" / f"instances_{split}{'2017' if is_folder(root / f'{split}2017') else ''}.json"
    return f"; if {there.pop()} is meant, rename it to {new}" if len(there) == 1 else ""


def _label_set(root: Path, index: Index, split: str, classes: int) -> LabelSet:
    """Return the classes of both splits, which may number their categories differently."""
    official = LABELS if classes == 81 else VOC_LABELS
    if dict(index.categories) == CATEGORIES:  # as in the original files; the other one may be large
        return official
    files = {name: path for name in COCO.splits if is_file(path := _files_of(root, name)[0])}
    categories = {name: index.categories if name == split else load_categories(files[name]) for name in files}
    ids: dict[str, Id] = {}
    for entries in categories.values():
        for category, name in entries:
            if name.lower() != BACKGROUND:
                ids.setdefault(name, category)
    if ids.keys() <= set(CATEGORIES.values()):
        return official
    if classes != 81:
        raise UserError(
            f"data.classes={classes}: the categories in {files[split]} are not COCO's, such as"
            f" {one_line(next(name for name in ids if name not in CATEGORIES.values()))}; leave data.classes out"
        )
    if len(ids) > 254:
        raise UserError(f"{files[split]}: {len(ids)} categories; a mask of 8 bits holds 254 and background")
    missing = sorted(ids.keys() - {name for _, name in categories[split]})
    if missing:
        log.warning("%s lacks categories of the other split: %s", files[split], enumeration(missing, 5))
    distinct = all(isinstance(i, int) and 0 < i < 255 for i in ids.values()) and len(set(ids.values())) == len(ids)
    own = (0, *(int(i) for i in ids.values())) if distinct else None
    return LabelSet((BACKGROUND, *ids), voc_colors(len(ids) + 1), own)


def _warn(annotations: Path, index: Index, ignores_crowds: bool) -> None:
    """Log what is left out and what is ignored of the annotations."""
    if index.left_out:
        left_out = plural(sum(count for count, _ in index.left_out.values()), "annotation")
        log.warning("%s: left out %s: %s", annotations, left_out, left_out_text(index.left_out))
    if index.crowds and ignores_crowds and dict(index.categories) != CATEGORIES:
        crowds = plural(index.crowds, "annotation")
        log.warning(
            "%s: ignored %s with iscrowd=1, as in COCO; set iscrowd to 0 if they are not crowds", annotations, crowds
        )


def _endings(path: str) -> list[str]:
    """Return `a/b/c`, `b/c` and `c` for `a/b/c`."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
