"""What the data sets share whose images and masks are files: finding them, and reading them together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from data.images import read_image, read_mask, stored_size
from data.labels import Color, LabelSet, to_train_ids
from data.packed_strings import PackedStrings
from data.samples import Sample
from utils.errors import DataFault, MissingPair, SizeMismatch, Unreadable, UserError, did_you_mean

Pairs = list[tuple[str, str]]
"""(image, mask), relative to the root of the data set."""

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")  # without loss


class PairedFiles:
    """Images and masks that are files.

    Args:
        root: of the data set.
        pairs: (image, mask) of each sample, relative to it.
        labels: names and colours of the train ids.
        train_ids: table of `data.labels.lookup_table`.
        colors: raw ids of the colours in masks that are colour pictures; None if the data set has no such masks.
        faults: what was found wrong in looking for the pairs; `data.checking` raises the first before a training.
    """

    def __init__(
        self,
        root: Path,
        pairs: Pairs,
        labels: LabelSet,
        train_ids: np.ndarray,
        colors: Mapping[Color, int] | None = None,
        faults: Iterable[DataFault] = (),
    ) -> None:
        self.root, self.labels, self.faults = root, labels, list(faults)
        self._images, self._masks = PackedStrings(image for image, _ in pairs), PackedStrings(mask for _, mask in pairs)
        self._train_ids, self._colors = train_ids, colors

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.files(index)
        image, raw = read_image(image_path), read_mask(mask_path, self._colors)
        if image.shape[:2] != raw.shape:
            raise SizeMismatch(_other_size(image_path, mask_path, image, raw))
        return Sample(image, to_train_ids(raw, self._train_ids, mask_path), self.name(index))

    def name(self, index: int) -> str:
        """The image's path below the root."""
        return self._images[index]

    def files(self, index: int) -> list[str]:
        """The paths of image and mask."""
        return [f"{self.root}/{self._images[index]}", f"{self.root}/{self._masks[index]}"]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the mask, without decoding it."""
        return stored_size(self.files(index)[1])


def _other_size(image_path: str, mask_path: str, image: np.ndarray, mask: np.ndarray) -> str:
    sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (image, mask)]
    message = f"{image_path} is {sizes[0]} but its mask {mask_path} is {sizes[1]}"
    with suppress(Unreadable):  # the message must not depend on what else can read the photo
        if stored_size(image_path) == mask.shape:  # before its EXIF orientation turned it
            return f"{message}: the photo is turned by its EXIF tag, the mask is not; save the photo without the tag"
    return message


def pick(split: str, splits: tuple[str, ...], dataset: str) -> str:
    """`split`, if it is one of `splits`.

    Raises:
        UserError: it is not.
    """
    if split not in splits:
        raise UserError(f"{dataset} has no split '{split}'; it has {', '.join(splits)}{did_you_mean(split, splits)}")
    return split


def files_by_stem(root: Path, folder: str, suffixes: tuple[str, ...], ending: str = "") -> dict[str, list[str]]:
    """Paths (relative to `root`) of the files below a folder by what they have in common with their partners.

    That is the path below the folder, without `ending` and the suffix: `a/b_left.png` in a search for `_left` is
    `a/b`. Hidden files are left out. More than one path for a stem is a fault that `match` reports.
    """
    found: dict[str, list[str]] = {}
    for place, folders, names in os.walk(root / folder, followlinks=True):
        folders.sort()
        below = Path(place).relative_to(root / folder).as_posix()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - of 100,000 files, Path takes longer
            if suffix.lower() in suffixes and stem.endswith(ending) and not name.startswith("."):
                key = stem.removesuffix(ending)
                path = name if below == "." else f"{below}/{name}"
                found.setdefault(key if below == "." else f"{below}/{key}", []).append(f"{folder}/{path}")
    return found


def match(root: Path, images: dict[str, list[str]], masks: dict[str, list[str]]) -> tuple[Pairs, list[DataFault]]:
    """The pairs of files with the same stem, in the order of the stems, and what has no partner."""
    pairs: Pairs = []
    faults: list[DataFault] = []
    for stem in sorted({*images, *masks}):
        photos, truths = images.get(stem, []), masks.get(stem, [])
        if len(photos) == 1 and len(truths) == 1:
            pairs.append((photos[0], truths[0]))
        elif not truths:
            faults.append(MissingPair(f"{root / photos[0]}: there is no mask of this name for it"))
        elif not photos:
            faults.append(MissingPair(f"{root / truths[0]}: there is no image of this name for it"))
        else:
            one, other = (photos if len(photos) > 1 else truths)[:2]
            faults.append(MissingPair(f"{root / one} and {root / other}: which of them is meant? Remove one"))
    return pairs, faults


def read_list(path: Path) -> list[str]:
    """The lines of a text file; blank ones, Windows' line ends and a byte order mark do no harm.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the list of the split cannot be read ({error})") from error


def listed(root: Path, list_file: str, image: str, mask: str) -> tuple[Pairs, list[DataFault]]:
    """The pairs that a text file names, one a line.

    Args:
        list_file, image, mask: paths relative to `root`; the last two with `{}` for what the line says.

    Raises:
        UserError: the list cannot be read, or is empty.
    """
    path = root / list_file
    names = read_list(path)
    if not names:
        raise UserError(f"{path}: the list of the split is empty")
    pairs: Pairs = []
    faults: list[DataFault] = []
    for name in names:
        pair = image.format(name), mask.format(name)
        gone = [file for file in pair if not os.path.isfile(f"{root}/{file}")]  # noqa: PTH113 - as above
        if gone:
            faults.append(MissingPair(f"{root / gone[0]}: there is no such file, but {path} lists {name}"))
        else:
            pairs.append(pair)
    return pairs, faults
