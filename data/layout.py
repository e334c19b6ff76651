"""Where the images and masks of a user's folder are."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from data.images import IMAGE_SUFFIXES
from data.label_files import LABELS
from data.pairs import MASK_SUFFIXES, Files, files_by_stem
from data.splits import USUAL, named_as, same_split
from utils.errors import NotThere, UserError
from utils.paths import is_folder, is_hidden, user_path
from utils.value_types import PictureFormat

LISTED = 8
"""Folders that a message lists at most."""
WRITTEN = (*get_args(PictureFormat), "uncertainty")
"""What infer.py appends to the name of a photo in the names of its files."""


@dataclass(frozen=True)
class Layout:
    """The folders of a data set, or of one of its splits.

    Attributes:
        root: root of the data set.
        images, masks: folders, relative to the root.
        mask_suffix: how the names of masks end; None if only the folder tells them from images.
    """

    root: Path
    images: str = "images"
    masks: str = "masks"
    mask_suffix: str | None = None

    @classmethod
    def of(cls, root: Path, images: str, masks: str, mask_suffix: str | None) -> Layout:
        """Return the layout of folders that may be absolute."""
        return cls(root, _below(root, images), _below(root, masks), mask_suffix)

    @property
    def folders(self) -> tuple[str, str]:
        """The folders of images and masks."""
        return self.images, self.masks

    def check(self, prefix: str = "data.") -> None:
        """Check that the folders are there, and that masks can be told from images.

        Args:
            prefix: prefix of the keys in messages.

        Raises:
            UserError: they are not.
        """
        for folder in self.folders:
            if not is_folder(self.root / folder) and not self.usual_splits():
                raise NotThere(f"there is no folder {self.root / folder}\n{self._advice(prefix)}")
        if self.images == self.masks and not self.mask_suffix:
            raise UserError(
                f"{prefix}images and {prefix}masks are both {self.root / self.masks}; pass how the names of masks end,"
                f" such as {prefix}mask_suffix=_mask"
            )

    def of_split(self, split: str) -> Layout | None:
        """Return the folders of a split; None if there are none.

        They are inside those of images and masks, as `images/train/`, or around them, as `train/images/`.
        """
        images, masks = (named_as(split, self.root / folder) for folder in self.folders)
        if images and masks:
            return replace(self, images=inside(self.images, images), masks=inside(self.masks, masks))
        around = named_as(split, self.root)
        if around is None or not all(is_folder(self.root / around / folder) for folder in self.folders):
            return None
        return replace(self, images=inside(around, self.images), masks=inside(around, self.masks))

    def usual_splits(self) -> list[Layout]:
        """Return the folders of train, val and test, as far as they are there."""
        return [layout for split in USUAL if (layout := self.of_split(split))]

    def is_by_share(self, split: str) -> bool:
        """Whether a share of the files, rather than a list or folders, decides which belong to a split."""
        if same_split(split) not in ("train", "val"):
            return False
        divided = any(named_as(name, self.root / folder) for name in USUAL for folder in self.folders)
        listed = any(named_as(name, self.root, ".txt") for name in ("train", "val"))
        return not divided and not listed and not self.usual_splits()

    def files(self, labels: Path) -> tuple[Files, Files]:
        """Return the images and the masks by their stems.

        Args:
            labels: the labels file, which is not a mask, although outlines of labelme have the same suffix.
        """
        if not is_folder(self.root / self.images):  # but those of the splits are there
            images, masks = Files(), Files()
            for part in self.usual_splits():
                for found, whole in zip(part.files(labels), (images, masks), strict=True):
                    whole |= {inside(posixpath.dirname(part.images), stem): paths for stem, paths in found.items()}
            return images, masks
        ending, suffix = os.path.splitext(self.mask_suffix or "")  # noqa: PTH122 - not a path
        if ending.startswith(".") and not suffix:  # only a suffix, such as .json
            ending, suffix = "", ending
        truths = files_by_stem(self.root, self.masks, (suffix.lower(),) if suffix else MASK_SUFFIXES, ending)
        truths = _without(truths, lambda path: posixpath.basename(path) in (LABELS, labels.name))
        photos = files_by_stem(self.root, self.images, IMAGE_SUFFIXES)
        if _is_inside(self.masks, self.images):
            photos = _others(photos, truths)
        elif _is_inside(self.images, self.masks):
            truths = _others(truths, photos)
        return {stem: paths for stem, paths in photos.items() if not _is_written(stem, photos, truths)}, truths

    def _advice(self, prefix: str) -> str:
        """Return what to pass where a folder is missing."""
        needed = [f"{folder}/" for folder in self.folders if not folder.startswith(".")]
        advice = f"Pass {prefix}root=<what holds {' and '.join(dict.fromkeys(needed)) or 'them'}>"
        usual = [key for key in ("images", "masks") if getattr(self, key) == key]
        if any(not is_folder(self.root / key) for key in usual):
            keys = " and ".join(f"{prefix}{key}=" for key in usual)
            advice += f", or {keys} for {'other folders' if len(usual) > 1 else 'another folder'}"
        with suppress(OSError):  # such as where the root itself is missing
            entries = [entry for entry in self.root.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
            there = sorted(f"{entry.name}/" for entry in entries)
            if there:
                advice += f"; {self.root} has {', '.join(there[:LISTED])}{', ...' if len(there) > LISTED else ''}"
        return advice


def inside(folder: str, name: str) -> str:
    """Return the path of a file or folder in a folder, which may be `.`."""
    return posixpath.normpath(f"{folder}/{name}")


def _below(root: Path, folder: str) -> str:
    """Return a folder relative to the root, also one elsewhere."""
    given = user_path(folder, "data.images or data.masks")
    if not given.is_absolute():
        return posixpath.normpath(given.as_posix())
    is_inside = given.is_relative_to(root.absolute())  # else `..` begins where a link leads
    return Path(os.path.relpath(given, root if is_inside else os.path.realpath(root))).as_posix()


def _without(files: Files, is_other: Callable[[str], bool]) -> Files:
    """Return files by stem without some paths, and without the stems that have no other."""
    left = {stem: [path for path in paths if not is_other(path)] for stem, paths in files.items()}
    return {stem: paths for stem, paths in left.items() if paths}


def _others(files: Files, taken: Files) -> Files:
    """Return files by stem without those in `taken`."""
    paths = {path for some in taken.values() for path in some}
    return _without(files, lambda path: path in paths)


def _is_inside(folder: str, other: str) -> bool:
    """Whether a folder is another one or inside it; both are relative to one root."""
    return other in (folder, ".") or folder.startswith(f"{other}/")


def _is_written(stem: str, photos: Files, truths: Files) -> bool:
    """Whether infer.py wrote an image, such as `a_overlay.png`, beside the photo `a.jpg`: it has no mask."""
    is_one = any(stem.endswith(f"_{kind}") and stem.removesuffix(f"_{kind}") in photos for kind in WRITTEN)
    return is_one and not any(truth.startswith(stem) for truth in truths)
