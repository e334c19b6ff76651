"""A user's own data."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.bands import checked_bands
from data.images import IMAGE_SUFFIXES
from data.label_files import LABELMAP, labels_path, read_labels
from data.labelme import outlined_size, read_outlines
from data.labels import IGNORE_INDEX, lookup_table
from data.masks import read_mask
from data.pairs import MASK_SUFFIXES, PairedFiles, aligned, files_by_stem, match, read_list
from data.parts import Window
from data.splits import Files, LineReader, held_out, listed_files
from utils.errors import DataFault, NotThere, UserError
from utils.paths import is_file, is_folder, user_path

ALL = "all"
"""The split of every photo, unless a list or folder has this name."""


class Folder(PairedFiles):
    """Images and masks that match by their stems (`data.pairs.aligned`), and a file that says what the ids mean.

    A split is, in this order: what the list `<split>.txt` names (`data.splits.LineReader`); the files of
    `images/<split>/` and `masks/<split>/`; or, where no split has a folder and neither `train` nor `val` has a list, a
    share of the files that no list names, which depends only on their names (`data.splits.held_out`). The split `all`
    is every file of `images/` and `masks/`.

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
        path = user_path(labels, "data.labels") if labels else labels_path([place, *layout.split_folders(place)])
        named = read_labels(path)
        if color_tolerance < 0:
            raise UserError(f"data.color_tolerance={color_tolerance}: must be 0 or more")
        # Where 255 may be a class that was forgotten; who lists what to ignore knows of it.
        self.labels_file = path if named.ignored == (IGNORE_INDEX,) else None
        table = lookup_table({raw: i for i, raw in enumerate(named.ids)}, ignored=named.ignored)
        inside = layout.inside(place, split)
        found, truths, faults = _of_split(place, split, *layout.files(place, inside), layout, inside, val_share)
        pairs, more = match(place, found, truths, layout.folders(inside))
        super().__init__(place, pairs, named.labels, table, named.colors, [*faults, *more], bands)
        self._tolerance, self._ids = color_tolerance, dict(zip(named.labels.names, named.ids, strict=True))

    def raw_mask(self, path: str, window: Window | None = None) -> np.ndarray:
        if path.endswith(".json"):
            mask = read_outlines(path, self._ids)
            return mask if window is None else window.of(mask)
        return read_mask(path, self._colors, self._tolerance, window)

    def size(self, index: int) -> tuple[int, int]:
        path = self.files(index)[1]
        return outlined_size(path) if path.endswith(".json") else super().size(index)


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
                raise NotThere(
                    f"there is no folder {root / folder}\nPass {prefix}root=<what holds images/ and masks/>, or"
                    f" {prefix}images= and {prefix}masks= for other folders"
                )
        if self.images == self.masks and not self.mask_suffix:
            raise UserError(
                f"{prefix}images and {prefix}masks are both {root / self.masks}; pass how the names of masks end, such"
                f" as {prefix}mask_suffix=_mask"
            )

    def folders(self, inside: str) -> tuple[str, str]:
        """Return the folders of images and masks of a split."""
        return posixpath.normpath(f"{self.images}{inside}"), posixpath.normpath(f"{self.masks}{inside}")

    def inside(self, root: Path, split: str) -> str:
        """Return the folder of a split in those of images and masks, as `/train`; '' if there is none."""
        names = (split, "valid") if split == "val" else (split,)  # as Roboflow calls it
        there = [name for name in names if all(is_folder(root / folder) for folder in self.folders(f"/{name}"))]
        return f"/{there[0]}" if there else ""

    def split_folders(self, root: Path) -> list[Path]:
        """Return the folders of images that belong to a split, where Roboflow puts the names of the classes."""
        return [root / self.images / name for name in (*Folder.splits, "valid") if is_folder(root / self.images / name)]

    def files(self, root: Path, inside: str) -> tuple[Files, Files]:
        """Return the images and the masks by their stems."""
        images, masks = self.folders(inside)
        ending, suffix = os.path.splitext(self.mask_suffix or "")  # noqa: PTH122 - not a path
        if ending.startswith("."):
            ending, suffix = "", ending
        truths = files_by_stem(root, masks, (suffix.lower(),) if suffix else MASK_SUFFIXES, ending)
        photos = files_by_stem(root, images, IMAGE_SUFFIXES)
        if images == masks:
            taken = {path for paths in truths.values() for path in paths}
            left = {stem: [path for path in paths if path not in taken] for stem, paths in photos.items()}
            photos = {stem: paths for stem, paths in left.items() if paths}
        return photos, truths


def _below(root: Path, folder: str) -> str:
    """Return a folder relative to the root, also one elsewhere."""
    given = user_path(folder, "data.images or data.masks")
    return (
        Path(os.path.relpath(given, root)).as_posix() if given.is_absolute() else posixpath.normpath(given.as_posix())
    )


def is_by_share(root: Path, split: str, layout: Layout) -> bool:
    """Whether a share of the files, rather than a list or folders, decides which belong to a split."""
    names = {"train", "val", split}
    kinds = (layout.images, layout.masks)
    divided = [name for name in (*Folder.splits, "valid") for kind in kinds if is_folder(root / kind / name)]
    return names == {"train", "val"} and not divided and not any(is_file(root / f"{name}.txt") for name in names)


def _of_split(
    root: Path, split: str, images: Files, masks: Files, layout: Layout, inside: str, val_share: float
) -> tuple[Files, Files, list[DataFault]]:
    """Return the images and masks of a split by the stems of the images, and the faults of its list.

    Raises:
        UserError: there is no such split, or a list cannot be read.
    """
    own = root / f"{split}.txt"
    folders = (layout.images, layout.masks)
    if is_file(own):
        return listed_files(own, LineReader(root, images, masks, inside, folders), layout.folders(inside)[0])
    masks = aligned(images, masks)
    if inside or split == ALL:
        return images, masks, []
    if not is_by_share(root, split, layout):
        raise NotThere(
            f"there is no split '{split}' in {root}: neither {split}.txt nor"
            f" {' and '.join(f'{folder}/' for folder in dict.fromkeys(layout.folders(f'/{split}')))};"
            f" the split '{ALL}' is every photo"
        )
    lists = {path.stem: path for path in root.glob("[!.]*.txt") if not path.is_dir() and path.name != LABELMAP}
    reader = LineReader(root, images, masks, folders=folders)
    # Any .txt may be a list of another split; one in another encoding names files in that encoding, if at all.
    elsewhere = [reader.find(line) for path in lists.values() for line in read_list(path, "surrogateescape")]
    stems = {*images, *masks} - {pair.stem for pair in elsewhere if pair is not None}
    if len(stems) == 1:
        raise UserError(
            f"{root}: one image cannot be divided into training and validation; list it in train.txt and val.txt to use"
            " it for both"
        )
    validating = held_out(stems, val_share) if stems else stems
    chosen = validating if split == "val" else stems - validating
    return {k: v for k, v in images.items() if k in chosen}, {k: v for k, v in masks.items() if k in chosen}, []
