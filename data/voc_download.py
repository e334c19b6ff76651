"""Download of Pascal VOC 2012, and SBD for its larger training set."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT
from tqdm import tqdm

from data.download import fetch_archive
from data.images import encoded
from data.labels import voc_colors
from data.pairs import read_list
from utils.errors import UserError
from utils.files import atomic_path

log = logging.getLogger(__name__)

VOC_ARCHIVE = DATASET_YEAR_DICT["2012"]["url"], DATASET_YEAR_DICT["2012"]["md5"]
SBD_ARCHIVE = SBDataset.url, SBDataset.md5
SBD_FOLDER = Path("benchmark_RELEASE", "dataset")


def download_voc(root: Path) -> None:
    """Download VOC 2012 into `root`, unless its photos, masks and lists are there; errors as for `fetch_archive`."""
    voc = root / "VOCdevkit" / "VOC2012"
    needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt")
    fetch_archive(*VOC_ARCHIVE, root, lambda: all((voc / path).exists() for path in needed))


def download_sbd(root: Path) -> None:
    """Download SBD, and make `SegmentationClassAug/` and the list `train_aug` from it and VOC, which must be there.

    The list holds all images of SBD and of VOC's `train` that are not in VOC's `val`: 10,582. VOC's own masks are used
    where there are any, as they are finer and mark the border.

    Raises:
        UserError: SBD cannot be downloaded, or its masks cannot be written.
    """
    voc = root / "VOCdevkit" / "VOC2012"
    lists, masks = voc / "ImageSets" / "Segmentation", voc / "SegmentationClassAug"
    if (lists / "train_aug.txt").is_file() and masks.is_dir():  # the list is written last
        return
    sbd = root / SBD_FOLDER
    fetch_archive(*SBD_ARCHIVE, root, lambda: all((sbd / path).exists() for path in ("cls", "train.txt", "val.txt")))
    try:
        theirs = {*read_list(sbd / "train.txt"), *read_list(sbd / "val.txt")}
        train, val = read_list(lists / "train.txt"), read_list(lists / "val.txt")
        masks.mkdir(exist_ok=True)
        names = sorted({*theirs, *train, *val})
        for name in tqdm(names, desc="masks of train_aug", unit="img", leave=False, dynamic_ncols=True, disable=None):
            mask = masks / f"{name}.png"
            if not mask.exists():
                finer = voc / "SegmentationClass" / f"{name}.png"
                content = finer.read_bytes() if finer.is_file() else _converted(sbd / "cls" / f"{name}.mat")
                with atomic_path(mask) as temporary:
                    temporary.write_bytes(content)
        chosen = sorted({*theirs, *train} - {*val})
        with atomic_path(lists / "train_aug.txt") as temporary:
            temporary.write_bytes("".join(f"{name}\n" for name in chosen).encode())
    except OSError as error:
        raise UserError(f"the masks of train_aug cannot be made: {error}") from error
    log.info("train_aug: %d images", len(chosen))


def _converted(path: Path) -> bytes:
    """Return the mask in a .mat file of SBD as a palette PNG.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        content = loadmat(path, mat_dtype=True)
        picture = Image.fromarray(content["GTcls"][0]["Segmentation"][0].astype(np.uint8))
    except Exception as error:  # damaged bytes raise many undocumented exceptions
        raise UserError(
            f"{path}: cannot be read ({error}); delete {path.parent.parent} to download SBD again"
        ) from error
    picture.putpalette(np.array(voc_colors(256), np.uint8).tobytes())
    return bytes(encoded(picture, "PNG"))
