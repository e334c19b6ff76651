"""Pascal VOC 2012: Everingham et al. 2015, "The Pascal Visual Object Classes Challenge: A Retrospective", with the
larger training set of Hariharan et al. 2011, "Semantic Contours from Inverse Detectors" (SBD)."""

from __future__ import annotations

from pathlib import Path

from data.labels import IGNORE_INDEX, LabelSet, lookup_table, voc_colors
from data.pairs import PairedFiles, Pairs, read_list
from utils.errors import DataFault, MissingPair, NotThere, UserError
from utils.paths import is_file, is_there, user_path

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
LABELS = LabelSet(CLASSES, voc_colors(len(CLASSES)))
TRAIN_IDS = lookup_table({i: i for i in range(len(LABELS))}, ignored=(IGNORE_INDEX,))
BORDER = (224, 224, 192)  # the colour of 255 in its colour map
COLORS = {color: i for i, color in enumerate(LABELS.colors)} | {BORDER: IGNORE_INDEX}
PARTS = {"train": ("train",), "train_aug": ("train", "sbd"), "val": ("val",), "trainval": ("train", "val")}
FOLDER = Path("VOCdevkit", "VOC2012")


class VOC(PairedFiles):
    """Photos of 20 kinds of things and of background; 255 along their borders is ignored.

    Args:
        root: holds `VOCdevkit/VOC2012/`, with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/`.
        split: `train` (1,464), `train_aug` (10,582, whose masks are in `SegmentationClassAug/`), `val` (1,449) or
            `trainval`.
        download: download what is missing, about 2 GB; with `train_aug`, 1.4 GB of SBD too.

    Raises:
        UserError: the split does not exist, or VOC is not there and cannot be downloaded.
    """

    splits = tuple(PARTS)
    parts = PARTS  # what a split is made of: train and train_aug share photos, as they should

    def __init__(self, root: str, split: str, download: bool = False) -> None:
        list_file = f"ImageSets/Segmentation/{self.known_split(split)}.txt"
        place = user_path(root, "data.root")
        folder = place / FOLDER
        masks = "SegmentationClassAug" if split == "train_aug" else "SegmentationClass"
        if download:
            from data.voc_download import download_sbd, download_voc

            download_voc(place)
            if split == "train_aug":
                download_sbd(place)
        for path in (folder / "JPEGImages", folder / masks, folder / list_file):
            if not is_there(path):
                raise NotThere(
                    f"VOC 2012 was not found: there is no {path}\n"
                    f"Pass data.root=<what holds {FOLDER.parent}/>, or data.download=true"
                )
        pairs, faults = _listed(folder, list_file, masks)
        super().__init__(folder, pairs, LABELS, TRAIN_IDS, COLORS, faults)


def _listed(folder: Path, list_file: str, masks: str) -> tuple[Pairs, list[DataFault]]:
    """Return the pairs that the list of a split names, one per line, and a fault for each that is missing.

    A line is a name (`2007_000032`, also with its suffix), or the paths of photo and mask below the folder
    (`/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png`), as in the lists of DeepLab for `train_aug`.
    Paths may have backslashes, as on Windows.

    Args:
        folder: `VOC2012/`; the other two are relative to it.
        masks: folder of the masks of lines that are names.

    Raises:
        UserError: the list cannot be read, or is empty.
    """
    lines = read_list(folder / list_file)
    if not lines:
        raise UserError(f"{folder / list_file}: the list of the split is empty")
    pairs: Pairs = []
    faults: list[DataFault] = []
    for line in dict.fromkeys(lines):
        image, *rest = line.replace("\\", "/").split()
        name = Path(image).name.removesuffix(".jpg")
        mask = rest[0].lstrip("/") if rest and "/" in rest[0] else f"{masks}/{name}.png"
        pair = f"JPEGImages/{name}.jpg", mask
        gone = [file for file in pair if not is_file(folder / file)]
        if gone and line.startswith("#"):  # a comment
            continue
        if gone:
            faults.append(
                MissingPair(f"{folder / gone[0]}: there is no such file, but {folder / list_file} lists {line}")
            )
        else:
            pairs.append(pair)
    return pairs, faults
