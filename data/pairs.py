"""Find pairs of image and mask files, and read them: the base of most data sets."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import numpy as np

from data.bands import RGB, Bands
from data.images import IMAGE_SUFFIXES, decode_image, package_for, read_encoded, stored_size
from data.labels import Color, LabelSet, to_train_ids
from data.masks import LOSSY, LOSSY_SUFFIXES, read_mask
from data.packed_strings import PackedStrings
from data.parts import Box, decode_part
from data.samples import Sample, SegmentationDataset
from utils.errors import DataFault, MissingPair, SizeMismatch, Unreadable, UserError
from utils.paths import files_below, is_folder, read_bytes
from utils.text import decoded, enumeration

Pairs = list[tuple[str, str]]
"""(image, mask), relative to the root of the data set."""
Files = dict[str, list[str]]
"""Paths relative to the root of a data set, by stem."""

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")  # lossy ones are refused when read
AFFIXES = re.compile(
    r"^(?:images?|img|photo|masks?|labels?|gt|seg)[_\-. ]+"
    r"|[_\-. ]+(?:images?|img|photo|masks?|labels?|labelids|gt|seg|segmentation|annot|annotation)$"
)
"""Words around a name that say whether it is an image or a mask, in lower case."""


class PairedFiles(SegmentationDataset):
    """Images and masks that are files.

    Args:
        root: root of the data set.
        pairs: (image, mask) of each sample, relative to it.
        labels: names and colours of the train ids.
        train_ids: result of `data.labels.lookup_table`.
        colors: raw ids of the colours in masks that are colour pictures; None if the data set has no such masks.
        faults: mistakes found while looking for pairs; `data.checking` raises the first before a training.
        bands: channels and values of the images.
    """

    reads_parts = True
    remedy = ""
    """What to do about unknown ids in a mask: the end of a message."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Read whole samples in a subclass that reads them differently, unless it sets `reads_parts`."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if own.keys() & {"__getitem__", "mask", "raw_mask"} and "reads_parts" not in own:
            cls.reads_parts = False
        if "__getitem__" in own:
            for name in {"mask", "size"} - own.keys():
                setattr(cls, name, getattr(SegmentationDataset, name))

    def __init__(
        self,
        root: Path,
        pairs: Pairs,
        labels: LabelSet,
        train_ids: np.ndarray,
        colors: Mapping[Color, int] | None = None,
        faults: Iterable[DataFault] = (),
        bands: Bands = RGB,
    ) -> None:
        self.root, self.labels, self.faults = root, labels, list(faults)
        self._images, self._masks = PackedStrings(image for image, _ in pairs), PackedStrings(mask for _, mask in pairs)
        self._train_ids, self._colors, self.bands = train_ids, colors, bands

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.files(index)
        image, raw = self.bands.read(image_path), self.raw_mask(mask_path)
        if image.shape[:2] != raw.shape:
            raise SizeMismatch(_other_size(image_path, mask_path, image.shape[:2], raw.shape))
        return Sample(image, to_train_ids(raw, self._train_ids, mask_path, self.remedy), self.name(index))

    def name(self, index: int) -> str:
        """Return the image's path below the root."""
        return self._images[index]

    def files(self, index: int) -> list[str]:
        """Return the paths of image and mask."""
        return [f"{self.root}/{self._images[index]}", f"{self.root}/{self._masks[index]}"]

    def raw_mask(self, path: str, box: Box | None = None) -> np.ndarray:
        """Read the raw ids of a mask or of its part in a box, uint8 or uint16 (H, W)."""
        return read_mask(path, self._colors, box=box)

    def mask(self, index: int) -> np.ndarray:
        path = self.files(index)[1]
        return to_train_ids(self.raw_mask(path), self._train_ids, path, self.remedy)

    def mask_part(self, index: int, box: Box) -> np.ndarray:
        path = self.files(index)[1]
        return to_train_ids(self.raw_mask(path, box), self._train_ids, path, self.remedy)

    def image_part(self, index: int, size: tuple[int, int], box: Box, size_used: tuple[int, int]) -> np.ndarray:
        image_path, mask_path = self.files(index)
        if not self.bands.is_rgb:
            image = self.bands.read(image_path)
        else:
            encoded = read_encoded(image_path)
            part = decode_part(encoded, size, box, size_used)
            if part is not None:
                return part
            image = decode_image(encoded, image_path)
        if image.shape[:2] != size:
            raise SizeMismatch(_other_size(image_path, mask_path, image.shape[:2], size))
        return box.of(image)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the mask without decoding it."""
        return stored_size(self.files(index)[1], turned=True)


def files_by_stem(root: Path, folder: str, suffixes: tuple[str, ...], ending: str = "") -> Files:
    """Return the files below a folder by their stems.

    A stem is the path below the folder without `ending` and the suffix: `a/b` of `a/b_left.png` if the ending is
    `_left`. Stems are in Unicode's composed form (NFC), because macOS decomposes the names of files. `match` reports
    stems with several files.

    Raises:
        UserError: a folder cannot be read.
    """
    found: Files = {}
    ending = normalize("NFC", ending)
    for path in files_below(root / folder):
        stem, suffix = os.path.splitext(path)  # noqa: PTH122 - for 100,000 files, Path takes longer
        stem = normalize("NFC", stem)
        if suffix.lower() in suffixes and stem.endswith(ending):
            found.setdefault(stem.removesuffix(ending), []).append(path if folder == "." else f"{folder}/{path}")
    return found


def bare(stem: str) -> str:
    """Return a stem without the words that tell images from masks: `a/1` for `a/1_mask` and `a/IMG_1`."""
    folder, slash, name = normalize("NFC", stem).casefold().rpartition("/")
    return folder + slash + (AFFIXES.sub("", name) or name)


def aligned(images: Files, masks: Files) -> Files:
    """Return the masks by the stems of their images, which may differ by a word such as `_mask`.

    Files of the same stem are pairs. Of the others, an image and a mask are a pair if they have the same `bare` stem,
    and no other image or mask has it.
    """
    alone: Files = {}
    free: Files = {}
    for stem in images.keys() - masks.keys():
        alone.setdefault(bare(stem), []).append(stem)
    for stem in masks.keys() - images.keys():
        free.setdefault(bare(stem), []).append(stem)
    renamed = {
        stems[0]: alone[key][0] for key, stems in free.items() if len(stems) == 1 and len(alone.get(key, ())) == 1
    }
    return {renamed.get(stem, stem): paths for stem, paths in masks.items()}


def match(root: Path, images: Files, masks: Files, folders: tuple[str, str]) -> tuple[Pairs, list[DataFault]]:
    """Return the pairs of files with the same stem, in the order of the stems, and a fault for each other stem.

    Args:
        images, masks: as `files_by_stem` returns them.
        folders: folders of images and masks, relative to `root`; faults say what is there instead.
    """
    pairs: Pairs = []
    faults: list[DataFault] = []
    without_mask, without_image = sorted(images.keys() - masks.keys()), sorted(masks.keys() - images.keys())
    for stem in sorted({*images, *masks}):
        photos, truths = images.get(stem, []), masks.get(stem, [])
        if len(photos) == 1 and len(truths) == 1:
            pairs.append((photos[0], truths[0]))
        elif len(photos) > 1 or len(truths) > 1:
            one, other = (photos if len(photos) > 1 else truths)[:2]
            faults.append(MissingPair(f"{root / one} and {root / other}: which of them should be used? Remove one"))
    if without_mask:
        hints = near_misses(root, folders[1], MASK_SUFFIXES, without_mask, [masks[stem][0] for stem in without_image])
        for stem in without_mask:
            image, hint = images[stem][0], hints[stem]
            if not masks and hint.endswith(LOSSY) and image.lower().endswith(MASK_SUFFIXES):
                hint += "; or are the folders of images and masks swapped?"
            faults.append(MissingPair(f"{root / image}: there is no mask of this name for it{hint}"))
    if without_image:
        hints = near_misses(root, folders[0], IMAGE_SUFFIXES, without_image, [images[stem][0] for stem in without_mask])
        for stem in without_image:
            faults.append(MissingPair(f"{root / masks[stem][0]}: there is no image of this name for it{hints[stem]}"))
    return pairs, faults


def near_misses(
    root: Path, folder: str, suffixes: tuple[str, ...], stems: Sequence[str], alone: Sequence[str]
) -> dict[str, str]:
    """Return, for each stem without a partner in a folder, the end of a message that says what is there instead.

    Args:
        suffixes: suffixes of files that can be partners.
        alone: files in the folder that have no partner either.
    """
    there: Files = {}
    if is_folder(root / folder):
        for path in files_below(root / folder):
            name = posixpath.basename(bare(os.path.splitext(path)[0]))  # noqa: PTH122 - as above
            there.setdefault(name, []).append(posixpath.join(folder, path).removeprefix("./"))
    others = f"; without a partner there: {enumeration(alone, 1)}" if alone else ""
    hints = {}
    for stem in stems:
        near = there.get(posixpath.basename(bare(stem)), [])
        useless = [path for path in near if not path.lower().endswith(suffixes)]
        is_photo = useless and suffixes == IMAGE_SUFFIXES
        needed = package_for(os.path.splitext(useless[0])[1].lower()) if is_photo else ""  # noqa: PTH122 - as above
        if not near:
            hints[stem] = others
        elif not useless:
            hints[stem] = f"; found {' and '.join(near[:3])} instead"
        elif needed:
            hints[stem] = f"; found {useless[0]}: {needed}, or save it as JPEG or PNG"
        elif useless[0].lower().endswith(LOSSY_SUFFIXES):
            hints[stem] = f"; found {useless[0]}, {LOSSY}"
        else:
            hints[stem] = f"; found {useless[0]}, which is none of {', '.join(suffixes)}"
    return hints


def read_list(path: Path, errors: Literal["strict", "surrogateescape"] = "strict") -> list[str]:
    """Return the lines of a text file in UTF-8, or in UTF-16 with a byte order mark; blank ones are left out.

    Args:
        errors: refuse bytes in another encoding, or keep them as Python does in the names of files.

    Raises:
        UserError: it cannot be read.
    """
    content = read_bytes(path)
    try:
        text = decoded(content, errors)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the list cannot be read ({error}); save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _other_size(image_path: str, mask_path: str, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    sizes = [f"{width}x{height}" for height, width in (image, mask)]
    message = f"{image_path} is {sizes[0]} but its mask {mask_path} is {sizes[1]}"
    with suppress(Unreadable):  # the message must not depend on what else can read the photo
        if stored_size(image_path) == mask:  # before its EXIF orientation turned it
            return f"{message}: the photo is turned by its EXIF tag, the mask is not; save the photo without the tag"
    return message
