"""A user's own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.images import IMAGE_SUFFIXES
from data.labels import IGNORE_INDEX, Color, LabelSet, lookup_table
from data.pairs import MASK_SUFFIXES, PairedFiles, aligned, files_by_stem, match, read_list
from data.splits import Files, LineReader, held_out, listed_files
from utils.errors import DataFault, NotThere, UserError
from utils.paths import is_file, is_folder, read_bytes, user_path

EXAMPLE = '{"0": {"class": "background", "color": [0, 0, 0]}, "1": {"class": "cat", "color": [128, 0, 0]}}'
WHITE = (255, 255, 255)  # ignored, in masks of colours


class Folder(PairedFiles):
    """Images and masks that match by their stems (`data.pairs.aligned`), and a file that says what the ids mean.

    A split is, in this order: what the list `<split>.txt` names (`data.splits.LineReader`); the files of
    `images/<split>/` and `masks/<split>/`; or, where no split has a folder and neither `train` nor `val` has a list, a
    share of the files that no list names, which depends only on their names (`data.splits.held_out`).

    Args:
        root: holds `images/` and `masks/`, and `labels.json`.
        split: `train`, `val`, or another that has a list or folders.
        val_share: of the files that `val` gets where nothing else divides them.
        labels: path of the labels file; None is `labels.json` in `root`. It maps ids to names and colours; masks hold
            those ids or those colours, and 255 or white where a pixel is to be ignored.

    Raises:
        UserError: a folder, the split or the labels are not there, or the labels are not as they should be.
    """

    splits = ("train", "val", "test")

    def __init__(self, root: str, split: str, val_share: float = 0.2, labels: str | None = None) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share}: must be above 0 and below 1")
        place = user_path(root, "data.root")
        for folder in ("images", "masks"):
            if not is_folder(place / folder):
                raise NotThere(
                    f"there is no folder {place / folder}\nSay data.root=<what holds images/, masks/ and labels.json>"
                )
        self.labels_file = user_path(labels, "data.labels") if labels else place / "labels.json"
        ids, label_set = read_labels(self.labels_file)
        table = lookup_table(
            {raw: i for i, raw in enumerate(ids)}, ignored=() if IGNORE_INDEX in ids else (IGNORE_INDEX,)
        )
        colors: dict[Color, int] = {WHITE: IGNORE_INDEX} | dict(zip(label_set.colors, ids, strict=True))
        inside = f"/{split}" if is_folder(place / "images" / split) and is_folder(place / "masks" / split) else ""
        images = files_by_stem(place, f"images{inside}", IMAGE_SUFFIXES)
        masks = files_by_stem(place, f"masks{inside}", MASK_SUFFIXES)
        images, masks, faults = _of_split(place, split, images, masks, inside, val_share)
        pairs, more = match(place, images, masks, (f"images{inside}", f"masks{inside}"))
        super().__init__(place, pairs, label_set, table, colors, [*faults, *more])


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
    if inside:
        return images, masks, []
    lists = {path.stem: path for path in root.glob("[!.]*.txt") if not path.is_dir()}
    folders = [name for name in Folder.splits for kind in ("images", "masks") if is_folder(root / kind / name)]
    if split not in ("train", "val") or {"train", "val"} & lists.keys() or folders:
        raise NotThere(
            f"there is no split '{split}' in {root}: neither {split}.txt nor images/{split}/ and masks/{split}/"
        )
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


def read_labels(path: Path) -> tuple[list[int], LabelSet]:
    """The ids of a labels file in ascending order, and their names and colours.

    Raises:
        UserError: it is not there or not of the form {"0": {"class": "background", "color": [0, 0, 0]}, ...}.
    """
    try:
        entries: dict[int, Any] = {
            int(key): value for key, value in json.loads(read_bytes(path).decode("utf-8-sig")).items()
        }
        ids = sorted(entries)
        colors = [entries[i]["color"] for i in ids]
        if not all(0 <= i <= 255 for i in ids) or not all(0 <= part <= 255 for color in colors for part in color):
            raise ValueError("ids and colours are 0 to 255")
        if len({tuple(color) for color in colors}) < len(colors):
            raise ValueError("two classes have the same colour")
        rgb = tuple((int(red), int(green), int(blue)) for red, green, blue in colors)
        own = tuple(ids) if ids != list(range(len(ids))) else None
        return ids, LabelSet(tuple(str(entries[i]["class"]) for i in ids), rgb, own)
    except OSError as error:
        raise UserError(f"{path}: the labels cannot be read ({error.strerror}); expected {EXAMPLE}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a file of labels ({error}); expected {EXAMPLE}") from error
