"""A user's own data: folders of images and masks, and a file that names the classes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from data.bands import checked_bands
from data.label_files import LABELMAP, labels_path, read_labels
from data.labelme import outlined_size, read_outlines
from data.labels import IGNORE_INDEX, lookup_table
from data.layout import LISTED, Layout, inside
from data.masks import read_mask
from data.pairs import Files, PairedFiles, match, read_list
from data.parts import Box
from data.splits import USUAL, LineReader, held_out, listed_files, named_as, same_split, unread_lists
from utils.errors import DataFault, NotThere, UserError
from utils.paths import user_path
from utils.text import enumeration

log = logging.getLogger(__name__)

ALL = "all"
"""The split of every photo, unless a list or folder has this name."""


class Folder(PairedFiles):
    """Images and masks that match by their stems (`data.pairs.aligned`), and a file that names the ids.

    A split is the first of these that is there: what the list `<split>.txt` names (`data.splits.LineReader`); the files
    of `images/<split>/` and `masks/<split>/`, or of `<split>/images/` and `<split>/masks/`; or, if no split has a
    folder and neither `train` nor `val` has a list, a share of the files that no other list names, which depends only
    on their names (`data.splits.held_out`). The split `all` is every file. Lists and folders may have other names of a
    split (`data.splits.SYNONYMS`), in any case.

    Args:
        root: holds `images/` and `masks/`, and `labels.json`.
        split: `train`, `val`, `all`, or another that has a list or folders.
        val_share: share of the files for `val` if nothing else divides them.
        labels: path of the labels file (`data.label_files.read_labels`); None to look for one in `root`. Masks hold its
            ids or its colours.
        channels: number of channels of the images.
        value_range: smallest and largest value of the images, which are scaled from this range; None for bytes.
        preview_bands: channels to show in pictures as red, green and blue, counted from 1; None for the first three.
        images, masks: folders of images and masks, relative to `root` or absolute. They may be the same, as `.` for
            `root` itself, with a `mask_suffix`.
        mask_suffix: how the names of masks end, as `_mask`, `_mask.png` or `.json` (outlines of labelme).
        color_tolerance: largest distance in RGB at which another colour, as at smoothed edges, counts as the nearest
            colour of a class.

    Raises:
        UserError: a folder, the split or the labels are missing or wrong.
    """

    splits = USUAL
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
        layout.check()
        folders = [place, *(place / part.images for part in layout.usual_splits())]  # Roboflow has one in each
        path = user_path(labels, "data.labels") if labels else labels_path(folders)
        named = read_labels(path)
        if color_tolerance < 0:
            raise UserError(f"data.color_tolerance={color_tolerance}: must be 0 or more")
        to_ignore = ', or list them under "ignore" there' if path.suffix == ".json" else ""
        self.remedy = f"; name them in {path}{to_ignore}"
        # 255 may be a class that was forgotten, unless the file says what to ignore.
        self.labels_file = path if named.ignored == (IGNORE_INDEX,) else None
        table = lookup_table(named.train_ids, ignored=named.ignored)
        own = layout.of_split(split) or layout
        found, truths, faults = _of_split(split, layout, own, path, val_share)
        pairs, more = match(place, found, truths, own.folders)
        super().__init__(place, pairs, named.labels, table, named.colors, [*faults, *more], bands)
        names, ids = named.labels.names, named.labels.ids or range(len(named.labels))
        self._tolerance, self._ids = color_tolerance, dict(zip(names, ids, strict=True))
        self._ignored = named.ignored[0]

    def raw_mask(self, path: str, box: Box | None = None) -> np.ndarray:
        if path.endswith(".json"):
            mask = read_outlines(path, self._ids, self._ignored)
            return mask if box is None else box.of(mask)
        return read_mask(path, self._colors, self._tolerance, box)

    def size(self, index: int) -> tuple[int, int]:
        path = self.files(index)[1]
        return outlined_size(path) if path.endswith(".json") else super().size(index)


def _of_split(
    split: str, layout: Layout, own: Layout, labels: Path, val_share: float
) -> tuple[Files, Files, list[DataFault]]:
    """Return the images and masks of a split by the stems of the images, and the faults of its list.

    Args:
        own: folders of the split, or `layout` if it has none.

    Raises:
        UserError: there is no such split, or a list cannot be read.
    """
    root, list_name = layout.root, named_as(split, layout.root, ".txt")
    images, masks = own.files(labels)
    reader = LineReader(root, images, masks, layout.folders, own.folders)
    if list_name is not None:
        return listed_files(root / list_name, reader, own.images)
    masks = reader.by_image
    if own is not layout or split == ALL:
        return images, masks, []
    if not layout.is_by_share(split):
        folders = dict.fromkeys(f"{inside(folder, split)}/" for folder in layout.folders)
        by_folds = "\nTo validate on a part of 'train', pass data.folds=5 data.fold=0"
        advice = by_folds if same_split(split) == "val" else ""
        raise NotThere(
            f"there is no split '{split}' in {root}: neither {split}.txt nor {' and '.join(folders)}; the split"
            f" '{ALL}' is every photo{advice}"
        )
    if same_split(split) == "train":  # once for train and val
        inner = sorted({stem.partition("/")[0] for stem in images if "/" in stem})
        if 1 < len(inner) <= LISTED:
            log.info(
                "%s: the photos of %s are divided by their names, whatever their folders;"
                " to use folders as splits, pass for example data.train_split=%s data.val_split=%s",
                *(root / layout.images, enumeration([f"{name}/" for name in inner], LISTED), *inner[:2]),
            )
        for path in unread_lists(root):
            hint = f"data.{same_split(Path(path).stem)}_split={path.removesuffix('.txt')} reads it"
            other = "only .txt files with one photo per line are"
            log.warning("%s is not read as a list: %s", root / path, hint if path.endswith(".txt") else other)
    chosen = _share_of(split, reader, labels, val_share)
    return {k: v for k, v in images.items() if k in chosen}, {k: v for k, v in masks.items() if k in chosen}, []


def _share_of(split: str, reader: LineReader, labels: Path, val_share: float) -> set[str]:
    """Return the stems of `train` or `val` where a share of the files divides what no list names.

    Raises:
        UserError: too few are left.
    """
    root, stems, elsewhere = reader.root, {*reader.images, *reader.by_image}, _listed_elsewhere(reader, labels)
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
    return validating if same_split(split) == "val" else stems - validating


def _listed_elsewhere(reader: LineReader, labels: Path) -> dict[str, set[str]]:
    """Return what each list of another split names, by the name of the list: any .txt that names some photos.

    A list of all photos divides nothing and is left out, unless it is `test.txt`.
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
