"""A user's own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from data.bands import checked_bands
from data.images import IMAGE_SUFFIXES
from data.labels import IGNORE_INDEX, Color, LabelSet, lookup_table
from data.pairs import MASK_SUFFIXES, PairedFiles, aligned, files_by_stem, match, read_list
from data.splits import Files, LineReader, held_out, listed_files
from utils.checked import shown
from utils.errors import DataFault, NotThere, UserError
from utils.paths import is_file, is_folder, read_bytes, user_path

EXAMPLE = '{"0": {"class": "background", "color": [0, 0, 0]}, "1": {"class": "cat", "color": [128, 0, 0]}}'
WHITE = (255, 255, 255)  # ignored, in masks of colours
NO_CLASS = 65535  # stands for colours to ignore where 255 is a class and no other id is ignored
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
        labels: path of the labels file; None is `labels.json` in `root`. It maps ids to names and colours; masks hold
            those ids or those colours, and 255, white, or what it lists under "ignore" where a pixel is to be ignored.

    Raises:
        UserError: a folder, the split or the labels are not there, or the labels are not as they should be.
    """

    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str,
        split: str,
        val_share: float = 0.2,
        labels: str | None = None,
        channels: int = 3,
        value_range: list[float] | None = None,
        preview_bands: list[int] | None = None,
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share}: must be above 0 and below 1")
        bands = checked_bands(channels, value_range, preview_bands)
        place = user_path(root, "data.root")
        for folder in ("images", "masks"):
            if not is_folder(place / folder):
                raise NotThere(
                    f"there is no folder {place / folder}\nSay data.root=<what holds images/, masks/ and labels.json>"
                )
        path = user_path(labels, "data.labels") if labels else place / "labels.json"
        named = read_labels(path)
        # Where 255 may be a class that was forgotten; who lists what to ignore knows of it.
        self.labels_file = path if named.ignored == (IGNORE_INDEX,) else None
        table = lookup_table({raw: i for i, raw in enumerate(named.ids)}, ignored=named.ignored)
        inside = f"/{split}" if _has_folders(place, split) else ""
        images = files_by_stem(place, f"images{inside}", IMAGE_SUFFIXES)
        masks = files_by_stem(place, f"masks{inside}", MASK_SUFFIXES)
        images, masks, faults = _of_split(place, split, images, masks, inside, val_share)
        pairs, more = match(place, images, masks, (f"images{inside}", f"masks{inside}"))
        super().__init__(place, pairs, named.labels, table, named.colors, [*faults, *more], bands)


def is_by_share(root: Path, split: str) -> bool:
    """Whether a share of the files, rather than a list or folders, decides which belong to a split."""
    names = {"train", "val", split}
    divided = [name for name in Folder.splits for kind in ("images", "masks") if is_folder(root / kind / name)]
    return names == {"train", "val"} and not divided and not any(is_file(root / f"{name}.txt") for name in names)


def _has_folders(root: Path, split: str) -> bool:
    return is_folder(root / "images" / split) and is_folder(root / "masks" / split)


def _of_split(
    root: Path, split: str, images: Files, masks: Files, inside: str, val_share: float
) -> tuple[Files, Files, list[DataFault]]:
    """The images and masks of a split by the stems of the images, and what its list names in vain.

    Raises:
        UserError: there is no such split, or a list cannot be read.
    """
    own = root / f"{split}.txt"
    if is_file(own):
        return listed_files(own, LineReader(root, images, masks, inside), f"images{inside}")
    masks = aligned(images, masks)
    if inside or split == ALL:
        return images, masks, []
    if not is_by_share(root, split):
        raise NotThere(
            f"there is no split '{split}' in {root}: neither {split}.txt nor images/{split}/ and masks/{split}/; the"
            f" split '{ALL}' is every photo"
        )
    lists = {path.stem: path for path in root.glob("[!.]*.txt") if not path.is_dir()}
    reader = LineReader(root, images, masks)
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


class NamedIds(NamedTuple):
    """What a labels file says.

    Attributes:
        ids: of the classes, ascending.
        labels: their names and colours.
        ignored: ids of pixels that belong to no class.
        colors: raw id of each colour in masks that are colour pictures, of classes and of what is ignored.
    """

    ids: list[int]
    labels: LabelSet
    ignored: tuple[int, ...]
    colors: dict[Color, int]


def read_labels(path: Path) -> NamedIds:
    """Read a labels file: the ids of the classes with names and colours, and what masks hold where there is no class.

    Raises:
        UserError: it is not there or not of the form {"0": {"class": "background", "color": [0, 0, 0]}, ...}, with or
            without "ignore": [<id or colour>, ...].
    """
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not ids with names and colours")
        ignore = content.pop("ignore", [])
        entries: dict[int, Any] = {_id(key): value for key, value in content.items()}
        ids = sorted(entries)
        if len(ids) < len(content):
            raise ValueError("two keys are the same id")
        for i in ids:
            if not isinstance(entries[i], dict) or not {"class", "color"} <= entries[i].keys():
                raise ValueError(f"id {i} is without 'class' or 'color'")
            if not isinstance(entries[i]["class"], str):
                raise ValueError(f"the name of id {i} is no text")
        if not all(0 <= i < NO_CLASS for i in ids):
            raise ValueError(f"ids are 0 to {NO_CLASS - 1}")
        colors = [_color(entries[i]["color"]) for i in ids]
        if len(set(colors)) < len(colors):
            raise ValueError("two classes have the same colour")
        own = tuple(ids) if ids != list(range(len(ids))) else None
        labels = LabelSet(tuple(entries[i]["class"] for i in ids), tuple(colors), own)
        ignored, ignored_colors = _to_ignore(ignore, ids, colors)
        return NamedIds(ids, labels, ignored, ignored_colors | dict(zip(colors, ids, strict=True)))
    except OSError as error:
        raise UserError(f"{path}: the labels cannot be read ({error.strerror}); expected {EXAMPLE}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a file of labels ({shown(str(error), 200)}); expected {EXAMPLE}") from error


def _id(key: str) -> int:
    if not key.isascii() or not key.isdigit():
        raise ValueError(f"'{key}' is no id")
    return int(key)


def _color(value: Any) -> Color:
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise ValueError(f"{value} is no colour; colours are three whole numbers from 0 to 255")
    return value[0], value[1], value[2]


def _to_ignore(entries: Any, ids: list[int], colors: list[Color]) -> tuple[tuple[int, ...], dict[Color, int]]:
    """The ids to ignore, and an id for each colour to ignore. 255 and white are, unless 255 is a class."""
    if not isinstance(entries, list):
        raise ValueError("'ignore' is a list of ids and colours")
    ignored = [entry for entry in entries if type(entry) is int]
    if not all(0 <= i < NO_CLASS for i in ignored):
        raise ValueError(f"'ignore': ids are 0 to {NO_CLASS - 1}")
    also = [_color(entry) for entry in entries if type(entry) is not int]
    for entry in [*ignored, *also]:
        if entry in ids or entry in colors:
            raise ValueError(f"'ignore': {entry} is that of a class")
    if IGNORE_INDEX not in ids:
        ignored.append(IGNORE_INDEX)
        also += [] if WHITE in colors else [WHITE]
    elif also and not ignored:
        ignored.append(NO_CLASS)
    # White goes with 255, other colours with the first id of the list.
    return tuple(ignored), {c: IGNORE_INDEX if c == WHITE and IGNORE_INDEX in ignored else ignored[0] for c in also}
