"""Fetching Pascal VOC 2012, and SBD for its larger training set."""

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
from data.labels import voc_colors

log = logging.getLogger(__name__)

VOC_ARCHIVE = DATASET_YEAR_DICT["2012"]["url"], DATASET_YEAR_DICT["2012"]["md5"]
SBD_ARCHIVE = SBDataset.url, SBDataset.md5
SBD_FOLDER = Path("benchmark_RELEASE", "dataset")


def download_voc(root: Path) -> None:
    """Fetches VOC 2012 into `root`, unless its lists are there.

    Raises:
        UserError: it cannot be had.
    """
    if (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").is_file():
        return
    fetch_archive(*VOC_ARCHIVE, root)


def download_sbd(root: Path) -> None:
    """Fetches SBD, and makes `SegmentationClassAug/` and the list `train_aug` of it and of VOC, which must be there.

    The list holds all images of SBD and of VOC's `train` that are not in VOC's `val`: 10,582. VOC's own masks are
    taken where there are any, as they are finer and tell the border.

    Raises:
        UserError: SBD cannot be had.
    """
    voc = root / "VOCdevkit" / "VOC2012"
    lists, masks = voc / "ImageSets" / "Segmentation", voc / "SegmentationClassAug"
    if (lists / "train_aug.txt").is_file():  # written last
        return
    sbd = root / SBD_FOLDER
    if not sbd.is_dir():
        fetch_archive(*SBD_ARCHIVE, root)
    own = {split: (lists / f"{split}.txt").read_text().split() for split in ("train", "val")}
    theirs = [name for split in ("train", "val") for name in (sbd / f"{split}.txt").read_text().split()]
    masks.mkdir(exist_ok=True)
    palette = np.array(voc_colors(256), np.uint8).tobytes()
    for name in tqdm(sorted({*theirs, *own["train"], *own["val"]}), desc="masks of train_aug", unit="img", leave=False):
        finer = voc / "SegmentationClass" / f"{name}.png"
        if finer.is_file():
            (masks / finer.name).write_bytes(finer.read_bytes())
            continue
        content = loadmat(sbd / "cls" / f"{name}.mat", mat_dtype=True)
        picture = Image.fromarray(content["GTcls"][0]["Segmentation"][0].astype(np.uint8))
        picture.putpalette(palette)
        picture.save(masks / finer.name)
    names = sorted({*theirs, *own["train"]} - set(own["val"]))
    (lists / "train_aug.txt").write_text("\n".join(names) + "\n")
    log.info("train_aug: %d images", len(names))
