"""A user's own data."""

from __future__ import annotations

import logging
import os
import posixpath
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from data.bands import checked_bands
from data.images import IMAGE_SUFFIXES
from data.label_files import LABELMAP, LABELS, labels_path, read_labels
from data.labelme import outlined_size, read_outlines
from data.labels import IGNORE_INDEX, lookup_table
from data.masks import read_mask
from data.pairs import MASK_SUFFIXES, PairedFiles, aligned, files_by_stem, match, read_list
from data.parts import Window
from data.splits import Files, LineReader, held_out, listed_files, named_as, same_split
from utils.errors import DataFault, NotThere, UserError
from utils.paths import is_folder, is_hidden, user_path
from utils.value_types import PictureFormat

log = logging.getLogger(__name__)

LISTED = 8
"""Folders that a message lists at most."""
ALL = "all"
"""The split of every photo, unless a list or folder has this name."""


class Folder(PairedFiles):
    """Images and masks that match by their stems (`data.pairs.aligned`), and a file that says what the ids mean.

    A split is, in this order: what the list `<split>.txt` names (`data.splits.LineReader`); the files of
    `images/<split>/` and `masks/<split>/`; or, where no split has a folder and neither `train` nor `val` has a list, a
    share of the files that no other list names, which depends only on their names (`data.splits.held_out`). The split
    `all` is every file of `images/` and `masks/`. Lists and folders may have other names of a split
    (`data.splits.SYNONYMS`), in any case.

    Args:
        root: holds `images/` and `masks/`, and `labels.json`.
        split: `train`, `val`, `all`, or another that has a list or folders.
        val_share: of the files that `val` gets where nothing else divides them.
        channels: number of channels of the images.
        value_range: smallest and largest value of the images, which are scaled from this range; None for bytes.
        preview_bands: channels to show in pictures as red, green and blue, counted from 1; None for the first three.
        images, masks: folders of images and masks, relative to `root` or absolute. They may be the same, as `.` for
            `root` itself, with a `mask_suffix`.
        mask_suffix: how the names of masks end, as `_mask`, `_mask.png` or `.json` (outlines of labelme).
        color_tolerance: colours of no class, as at smoothed edges, are taken for the nearest class colour if they are
            not farther from it than this, as a distance of red, green and blue.
        labels: path of the labels file, as for `data.label_files.read_labels`; None looks for one in `root`. It maps
            ids to names and colours; masks hold those ids or those colours, and 255, white, or what it lists under
            "ignore" where a pixel is to be ignored.

    Raises:
        UserError: a folder, the split or the labels are not there, or the labels are not as they should be.
    """

    splits = ("train", "val", "test")
    reads_parts = True

    def __init__(
        self,
        root: str,
        split: str,
        val_share: float = 0.2,
        labels: str | None = None,
        channels: int = 3,
        value_range: list[float] | None = None,
        preview_bands: list[int] | None = None,
        images: str = "images",
        masks: str = "masks",
        mask_suffix: str | None = None,
        color_tolerance: float = 0.0,
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share}: must be above 0 and below 1")
        bands = checked_bands(channels, value_range, preview_bands)
        place = user_path(root, "data.root")
        layout = Layout.of(place, images, masks, mask_suffix)
        layout.check(place)
        folders = [place, *(place / part.images for part in layout.splits(place))]
        path = user_path(labels, "data.labels") if labels else labels_path(folders)
        named = read_labels(path)
        if color_tolerance < 0:
            raise UserError(f"data.color_tolerance={color_tolerance}: must be 0 or more")
        # Where 255 may be a class that was forgotten; who lists what to ignore knows of it.
        self.labels_file = path if named.ignored == (IGNORE_INDEX,) else None
        table = lookup_table({raw: i for i, raw in enumerate(named.ids)}, ignored=named.ignored)
        part = layout.of_split(place, split)
        found, truths, faults = _of_split(place, split, layout, part, path, val_share)
        pairs, more = match(place, found, truths, (part or layout)[:2])
        super().__init__(place, pairs, named.labels, table, named.colors, [*faults, *more], bands)
        self._tolerance, self._ids = color_tolerance, dict(zip(named.labels.names, named.ids, strict=True))
        self._ignored = named.ignored[0]

    def raw_mask(self, path: str, window: Window | None = None) -> np.ndarray:
        if path.endswith(".json"):
            mask = read_outlines(path, self._ids, self._ignored)
            return mask if window is None else window.of(mask)
        return read_mask(path, self._colors, self._tolerance, window)

    def size(self, index: int) -> tuple[int, int]:
        path = self.files(index)[1]
        return outlined_size(path) if path.endswith(".json") else super().size(index)


WRITTEN = (*get_args(PictureFormat), "uncertainty")
"""What infer.py appends to the name of a photo in the names of its files."""


class Layout(NamedTuple):
    """Where the files of a data set are.

    Attributes:
        images, masks: folders, relative to the root.
        mask_suffix: how the names of masks end; None if only the folder tells them from images.
    """

    images: str = "images"
    masks: str = "masks"
    mask_suffix: str | None = None

    @classmethod
    def of(cls, root: Path, images: str, masks: str, mask_suffix: str | None) -> Layout:
        """Return the layout of folders that may be absolute."""
        return cls(_below(root, images), _below(root, masks), mask_suffix)

    def check(self, root: Path, prefix: str = "data.") -> None:
        """Check that the folders are there, and that masks can be told from images.

        Args:
            prefix: of the keys in messages.

        Raises:
            UserError: they are not.
        """
        for folder in (self.images, self.masks):
            if not is_folder(root / folder):
                raise NotThere(f"there is no folder {root / folder}\n{self._advice(root, prefix)}")
        if self.images == self.masks and not self.mask_suffix:
            raise UserError(
                f"{prefix}images and {prefix}masks are both {root / self.masks}; pass how the names of masks end, such"
                f" as {prefix}mask_suffix=_mask"
            )

    def _advice(self, root: Path, prefix: str) -> str:
        """Return what to pass where a folder is missing."""
        needed = [f"{folder}/" for folder in (self.images, self.masks) if not folder.startswith(".")]
        advice = f"Pass {prefix}root=<what holds {' and '.join(dict.fromkeys(needed)) or 'them'}>"
        usual = [key for key in ("images", "masks") if getattr(self, key) == key]
        if any(not is_folder(root / key) for key in usual):
            keys = " and ".join(f"{prefix}{key}=" for key in usual)
            advice += f", or {keys} for {'other folders' if len(usual) > 1 else 'another folder'}"
        with suppress(OSError):  # such as where the root itself is missing
            there = sorted(f"{entry.name}/" for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name))
            if there:
                advice += f"; {root} has {', '.join(there[:LISTED])}{', ...' if len(there) > LISTED else ''}"
        return advice

    def of_split(self, root: Path, split: str) -> Layout | None:
        """Return the folders of a split inside those of images and masks; None if there are none."""
        images, masks = (named_as(split, root / folder) for folder in (self.images, self.masks))
        if images is None or masks is None:
            return None
        return Layout(_inside(self.images, images), _inside(self.masks, masks), self.mask_suffix)

    def splits(self, root: Path) -> list[Layout]:
        """Return the folders of the usual splits, where Roboflow puts the names of the classes."""
        found = [self.of_split(root, split) for split in Folder.splits]
        return [layout for layout in found if layout is not None]

    def files(self, root: Path, labels: Path) -> tuple[Files, Files]:
        """Return the images and the masks by their stems.

        Args:
            labels: the labels file, which is no mask although outlines of labelme have the same suffix.
        """
        images, masks = self.images, self.masks
        ending, suffix = os.path.splitext(self.mask_suffix or "")  # noqa: PTH122 - not a path
        if ending.startswith("."):
            ending, suffix = "", ending
        truths = files_by_stem(root, masks, (suffix.lower(),) if suffix else MASK_SUFFIXES, ending)
        names = {LABELS, labels.name}
        truths = {
            stem: kept
            for stem, paths in truths.items()
            if (kept := [path for path in paths if posixpath.basename(path) not in names])
        }
        photos = files_by_stem(root, images, IMAGE_SUFFIXES)
        if images == masks:
            taken = {path for paths in truths.values() for path in paths}
            left = {stem: [path for path in paths if path not in taken] for stem, paths in photos.items()}
            photos = {stem: paths for stem, paths in left.items() if paths}
        for stem in [stem for stem in photos if _is_written(stem, photos, truths)]:
            del photos[stem]
        return photos, truths


def _is_written(stem: str, photos: Files, truths: Files) -> bool:
    """Whether infer.py wrote an image, such as `a_overlay.png`, beside the photo `a.jpg`: it has no mask."""
    is_one = any(stem.endswith(f"_{kind}") and stem.removesuffix(f"_{kind}") in photos for kind in WRITTEN)
    return is_one and not any(truth.startswith(stem) for truth in truths)


def _inside(folder: str, name: str) -> str:
    return posixpath.normpath(f"{folder}/{name}")


def _below(root: Path, folder: str) -> str:
    """Return a folder relative to the root, also one elsewhere."""
    given = user_path(folder, "data.images or data.masks")
    if not given.is_absolute():
        return posixpath.normpath(given.as_posix())
    inside = given.is_relative_to(root.absolute())  # else `..` begins where a link leads
    return Path(os.path.relpath(given, root if inside else os.path.realpath(root))).as_posix()


def is_by_share(root: Path, split: str, layout: Layout) -> bool:
    """Whether a share of the files, rather than a list or folders, decides which belong to a split."""
    if same_split(split) not in ("train", "val"):
        return False
    divided = any(named_as(name, root / kind) for name in Folder.splits for kind in (layout.images, layout.masks))
    return not divided and not any(named_as(name, root, ".txt") for name in ("train", "val"))


def _of_split(
    root: Path, split: str, layout: Layout, part: Layout | None, labels: Path, val_share: float
) -> tuple[Files, Files, list[DataFault]]:
    """Return the images and masks of a split by the stems of the images, and the faults of its list.

    Args:
        part: folders of the split inside those of `layout`.

    Raises:
        UserError: there is no such split, or a list cannot be read.
    """
    own = named_as(split, root, ".txt")
    inside = part or layout
    images, masks = inside.files(root, labels)
    reader = LineReader(root, images, masks, layout[:2], inside[:2])
    if own is not None:
        return listed_files(root / own, reader, inside.images)
    masks = aligned(images, masks)
    if part or split == ALL:
        return images, masks, []
    if not is_by_share(root, split, layout):
        folders = dict.fromkeys((_inside(layout.images, split), _inside(layout.masks, split)))
        raise NotThere(
            f"there is no split '{split}' in {root}: neither {split}.txt nor"
            f" {' and '.join(f'{folder}/' for folder in folders)};"
            f" the split '{ALL}' is every photo"
        )
    stems = {*images, *masks}
    elsewhere = _listed_elsewhere(reader, labels)
    if elsewhere and stems <= set().union(*elsewhere.values()):
        raise UserError(
            f"{root}: no photo is left for '{split}', because {' and '.join(sorted(elsewhere))} list all of them; list"
            " those for training in train.txt and those for validation in val.txt"
        )
    for name, named in elsewhere.items() if same_split(split) == "train" else ():
        log.info("%s: left out of train and val: %d of %d photos", root / name, len(named & stems), len(stems))
    stems = stems.difference(*elsewhere.values())
    if len(stems) == 1:
        raise UserError(
            f"{root}: one image cannot be divided into training and validation; list it in train.txt and val.txt to use"
            " it for both"
        )
    validating = held_out(stems, val_share) if stems else stems
    chosen = validating if same_split(split) == "val" else stems - validating
    return {k: v for k, v in images.items() if k in chosen}, {k: v for k, v in masks.items() if k in chosen}, []


def _listed_elsewhere(reader: LineReader, labels: Path) -> dict[str, set[str]]:
    """Return what each list of another split names, by the name of the list: any .txt that names some photos.

    A list of all photos divides nothing and is left out, unless it is that of `test`.
    """
    found = {}
    for path in sorted(reader.root.glob("[!.]*.[tT][xX][tT]")):
        if path.is_dir() or path.name in (LABELMAP, labels.name):
            continue
        # One in another encoding names files in that encoding, if at all.
        pairs = [reader.find(line) for line in read_list(path, "surrogateescape")]
        stems = {pair.stem for pair in pairs if pair is not None}
        if stems and (same_split(path.stem) == "test" or not stems >= reader.images.keys()):
            found[path.name] = stems
    return found
