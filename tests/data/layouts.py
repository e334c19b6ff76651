"""Write small data sets of generated pictures in the layouts of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pycocotools import mask as rle

if TYPE_CHECKING:  # the process that hands out tests needs none of it
    from data.samples import SegmentationDataset

SIZE = (64, 96)
"""Height and width of the pictures."""

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def photo(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return an image of smooth colours, which JPEG hardly changes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 8, size[1] // 8, 3)).astype(np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


def blocks(seed: int, ids: list[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a mask of 8x8 blocks that contains every id if there are enough blocks."""
    rng = np.random.default_rng(seed)
    count = size[0] * size[1] // 64
    chosen = np.array((ids * (count // len(ids) + 1))[:count], np.uint8)
    return rng.permutation(chosen).reshape(size[0] // 8, size[1] // 8).repeat(8, 0).repeat(8, 1)


def write(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    picture.save(path)


def make_camvid(root: Path) -> Path:
    """4 training and 2 validation samples of 40x48, with every id from 0 to 11."""
    rng = np.random.default_rng(0)
    for split, length in (("train", 4), ("val", 2)):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for i in range(length):
            mask = np.repeat(rng.permutation(12).astype(np.uint8), 4)[None].repeat(40, 0)
            image = rng.integers(0, 256, (40, 48, 3), np.uint8)
            Image.fromarray(image).save(root / split / f"{i:03}.jpg")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{i:03}.png")
    return root


def make_voc(root: Path) -> Path:
    """Write four photos for `train`, two for `val` and six for `train_aug`, with every id and the border."""
    folder = root / "VOCdevkit" / "VOC2012"
    lists = {"train": range(4), "val": range(4, 6), "train_aug": [0, 1, 2, 3, 6, 7]}
    for i in range(8):
        write(folder / "JPEGImages" / f"2007_{i:06}.jpg", photo(i))
        mask = blocks(i, [*range(21), 255])
        if i < 6:
            write(folder / "SegmentationClass" / f"2007_{i:06}.png", mask, PALETTE)
        write(folder / "SegmentationClassAug" / f"2007_{i:06}.png", mask, PALETTE)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, numbers in lists.items():
        names = "".join(f"2007_{i:06}\n" for i in numbers)
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)
    return root


def make_cityscapes(root: Path, size: tuple[int, int] = SIZE) -> Path:
    """Write two cities of `train` and one of `val`, two scenes each, with all 34 ids and instances."""
    for split, cities in {"train": ("ulm", "aachen"), "val": ("lindau",), "train_extra": ("erlangen",)}.items():
        for number, name in enumerate(f"{city}/{city}_00000{i}_000019" for city in cities for i in range(2)):
            ids = blocks(number, list(range(34)), size)
            kind = "gtCoarse" if split == "train_extra" else "gtFine"
            write(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", photo(number, size))
            write(root / kind / split / f"{name}_{kind}_labelIds.png", ids)
            # People and vehicles in the left half are told apart, in the right half they are groups.
            instances = ids.astype(np.uint16)
            told_apart = (ids >= 24) & (np.arange(size[1]) < size[1] // 2)
            instances[told_apart] = instances[told_apart] * 1000 + (np.indices(size)[0][told_apart] // 16)
            write(root / kind / split / f"{name}_{kind}_instanceIds.png", instances)
    return root


def make_cityscapes_pairs(root: Path, count: int = 4) -> Path:
    """Write numbered JPEG files with photo and colours side by side."""
    from data.cityscapes_labels import LABELS

    colors = np.array([label.color for label in LABELS], np.uint8)
    for split in ("train", "val"):
        for i in range(count):
            both = np.concatenate([photo(i, (64, 64)), colors[blocks(i, list(range(34)), (64, 64))]], 1)
            path = root / split / f"{i + 1}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(both).save(path, quality=95)
    return root


def make_coco(root: Path, more: int = 0) -> Path:
    """Three photos a split: a person before a table with a cup on it and a crowd; a zebra; nothing. And `more` of the
    last kind."""
    height, width = SIZE
    categories = [{"id": 1, "name": "person"}, {"id": 24, "name": "zebra"}, {"id": 47, "name": "cup"},
                  {"id": 67, "name": "dining table"}]  # fmt: skip
    for split in ("train2017", "val2017"):
        crowd = np.zeros(SIZE, np.uint8, order="F")
        crowd[:, 80:] = 1
        lengths = run_lengths(crowd)
        zebra = np.zeros(SIZE, np.uint8, order="F")
        zebra[8:40, 8:72] = 1
        packed = rle.encode(zebra)
        annotations = [
            # The cup comes first in the file, and must end up on the table all the same.
            region(1, 47, box(40, 40, 48, 48), 64),
            region(1, 67, box(16, 32, 72, 64), 56 * 32),
            region(1, 1, box(56, 8, 72, 40), 16 * 32),
            {**region(1, 1, {"size": [height, width], "counts": lengths}, int(crowd.sum())), "iscrowd": 1},
            region(2, 24, {"size": [height, width], "counts": packed["counts"].decode()}, int(zebra.sum())),
        ]
        images = [
            {"id": i, "file_name": f"{i:012}.jpg", "height": height, "width": width}
            for i in (3, 1, 2, *range(4, 4 + more))
        ]
        for image in images:
            write(root / split / str(image["file_name"]), photo(int(str(image["id"]))))
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def region(image: int, category: int, outline: object, area: int) -> dict[str, object]:
    return {"image_id": image, "category_id": category, "segmentation": outline, "area": area, "iscrowd": 0}


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """Return a rectangle as a polygon."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return COCO's run lengths: column by column, starting with zeros."""
    counts, value = [0], 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def make_folder(root: Path, count: int = 10) -> Path:
    """Write a user's own data set of three classes."""
    labels = {
        "0": {"class": "background", "color": [0, 0, 0]},
        "1": {"class": "cat", "color": [200, 0, 0]},
        "7": {"class": "dog", "color": [0, 0, 200]},
    }
    for i in range(count):
        write(root / "images" / f"photo {i}.jpg", photo(i))
        write(root / "masks" / f"photo {i}.png", blocks(i, [0, 1, 7, 255]))
    (root / "labels.json").write_text(json.dumps(labels))
    return root


LABELS = {"0": {"class": "field", "color": [0, 0, 0]}, "1": {"class": "road", "color": [200, 0, 0]}}


def write_labels(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.json").write_text(json.dumps(LABELS))


def write_outlines(root: Path, shapes: list[dict], size: tuple[int, int] = (20, 30)) -> None:
    """Write a photo and its outlines, as labelme saves them."""
    write(root / "a.jpg", photo(0, (24, 32))[: size[0], : size[1]])
    content = {
        "version": "5.4",
        "imagePath": "a.jpg",
        "imageHeight": size[0],
        "imageWidth": size[1],
        "shapes": shapes,
    }
    (root / "a.json").write_text(json.dumps(content))


def masks_of(dataset: SegmentationDataset) -> list[list[list[int]]]:
    return [dataset[i].mask.tolist() for i in range(len(dataset))]
