"""How the samples of a user's folder are divided: by lists, or by a share."""

from __future__ import annotations

import os
import posixpath
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from data.images import IMAGE_SUFFIXES
from data.masks import LOSSY, LOSSY_SUFFIXES
from data.pairs import MASK_SUFFIXES, Files, aligned, near_misses, read_list
from utils.errors import DataFault, MissingPair, UserError
from utils.paths import is_file, is_folder, is_hidden

USUAL = ("train", "val", "test")
"""The splits that tools and labels files are looked for in."""
SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
"""Other names of the usual splits."""
AROUND = " '\""
"""What may be around a path in a list."""


def same_split(name: str) -> str:
    """Return one name for all names of a split: `val` for `Val`, `valid` and `VALIDATION`."""
    return SYNONYMS.get(name.casefold(), name.casefold())


def named_as(split: str, folder: Path, suffix: str = "") -> str | None:
    """Return the name of a split's folder inside a folder, or of its file with a suffix; None if there is none.

    Raises:
        UserError: two are there, or the folder cannot be read.
    """
    above, _, split = split.rpartition("/")
    folder /= above
    try:
        names = os.listdir(folder)  # noqa: PTH208 - for 100,000 files, Path takes longer
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    found = []
    for name in sorted(names):
        stem, ending = os.path.splitext(name) if suffix else (name, "")  # noqa: PTH122 - a name only
        if ending.lower() == suffix and same_split(stem) == same_split(split):
            found += [name] if (is_file if suffix else is_folder)(folder / name) else []
    if len(found) > 1:
        one, other = (folder / name for name in found[:2])
        raise UserError(f"{one} and {other}: which of them is the split '{split}'? Rename or remove one")
    return posixpath.join(above, found[0]) if found else None


class Pair(NamedTuple):
    """The images and masks that a line of a list can mean, one of each if all is well."""

    stem: str
    images: list[str]
    masks: list[str]


class LineReader:
    """Find the files that the lines of a list name.

    A line is a stem, the name or path of an image, or the paths of an image and its mask, separated by a tab, comma,
    semicolon or space. Paths are relative to the root or to the folder of images or masks, or absolute, and may contain
    links. Files outside the root need both paths.

    Args:
        root: root of the data set.
        images, masks: the files that are there.
        folders: folders of images and masks, below the root.
        inside: the folders of the split in them, such as `images/train`.
    """

    def __init__(
        self, root: Path, images: Files, masks: Files, folders: tuple[str, str], inside: tuple[str, str]
    ) -> None:
        self.root, self.images, self.masks, self.by_image = root, images, masks, aligned(images, masks)
        self.real, self._real_folder = os.path.realpath(root), lru_cache(1024)(os.path.realpath)
        self.prefixes: dict[str, list[str]] = {}
        for kind, *both in zip(("images", "masks"), inside, folders, strict=True):
            real = [os.path.relpath(os.path.realpath(root / folder), self.real) for folder in both]
            self.prefixes[kind] = [normalize("NFC", f"{folder}/") for folder in dict.fromkeys((*real, *both))]

    def find(self, line: str) -> Pair | None:
        """Return the files that a line names; None if there are none."""
        for path in dict.fromkeys((line, line.strip(AROUND))):
            stem = self._stem(path, "images", self.images) or self._stem(path, "masks", self.by_image)
            if stem is not None:
                return Pair(stem, _named(path, self.images.get(stem, [])), self.by_image.get(stem, []))
        for image, mask in _columns(line):
            stem, other = self._stem(image, "images", self.images), self._stem(mask, "masks", self.masks)
            image, mask = self._below(image), self._below(mask)
            if stem is not None and other is not None and (mask in self.masks[other] or not self._is_file(mask)):
                return Pair(stem, _named(image, self.images[stem]), _named(mask, self.masks[other]))
            if self._is_file(image) and self._is_file(mask):
                return Pair(stem or os.path.splitext(image)[0], [image], [mask])  # noqa: PTH122 - a path as text
        return None

    def without_mask(self, line: str) -> str | None:
        """Return the missing mask that a line lists for an image, '' if it lists none; None if there is no image."""
        if self._is_file(self._below(line)):
            return ""
        return next((mask for image, mask in _columns(line) if self._is_file(self._below(image))), None)

    def _is_file(self, path: str) -> bool:
        return not path.startswith("/") and os.path.isfile(f"{self.root}/{path}")  # noqa: PTH113 - never raises

    def _below(self, path: str) -> str:
        """Return a path relative to the root, which may begin with `../`."""
        path = path.replace("\\", "/")
        if path.startswith("/"):
            return os.path.relpath(self._resolved(path), self.real)
        return path.removeprefix(f"{self.root}/").removeprefix("./")

    def _resolved(self, path: str) -> str:
        """Return an absolute path without links in its folders, except in those below the root."""
        if "\0" in path:
            return path
        folder, _, name = path.rpartition("/")
        above, below = folder, name
        while above:
            if normalize("NFC", self._real_folder(above)) == normalize("NFC", self.real):
                return f"{self.real}/{below}"
            above, _, last = above.rpartition("/")
            below = f"{last}/{below}"
        return posixpath.join(self._real_folder(folder or "/"), name)

    def _stem(self, text: str, kind: str, files: Files) -> str | None:
        path = normalize("NFC", self._below(text))
        for prefix in self.prefixes[kind]:
            path = path.removeprefix(prefix)
        for given in (normalize("NFC", text), path):
            for name in (given, os.path.splitext(given)[0]):  # noqa: PTH122 - as above
                if name in files:
                    return name
        return None


def listed_files(list_file: Path, reader: LineReader, folder: str) -> tuple[Files, Files, list[DataFault]]:
    """Return the images and masks that a list names, and faults for lines that name none.

    Args:
        folder: folder of the images, below the root; messages name what is there instead.

    Raises:
        UserError: the list cannot be read, or is empty.
    """
    images: Files = {}
    masks: Files = {}
    faults: list[DataFault] = []
    gone: dict[str, str] = {}
    for line in dict.fromkeys(read_list(list_file)):
        pair = reader.find(line)
        if pair is None and line.startswith("#"):  # a comment
            continue
        if pair is None:
            gone[line] = os.path.splitext(line.replace("\\", "/"))[0]  # noqa: PTH122 - as above
            continue
        unfit = [mask for mask in pair.masks if not mask.lower().endswith((*MASK_SUFFIXES, ".json"))]
        if unfit:
            is_lossy = unfit[0].lower().endswith(LOSSY_SUFFIXES)
            reason = LOSSY if is_lossy else f"which is none of {', '.join(MASK_SUFFIXES)}"
            faults.append(MissingPair(f"{list_file} lists the mask {unfit[0]}, {reason}"))
        elif masks.get(pair.stem, pair.masks) != pair.masks:
            faults.append(MissingPair(f"{list_file} lists two masks for {pair.stem}; remove one of the lines"))
        else:
            images |= {pair.stem: pair.images} if pair.images else {}
            masks |= {pair.stem: pair.masks} if pair.masks else {}
    if gone:
        hints = near_misses(reader.root, folder, IMAGE_SUFFIXES, list(gone.values()), [])
        for line, stem in sorted(gone.items()):
            mask = reader.without_mask(line)
            if mask is None:
                form = "a line is an image, or an image and its mask, as images/a.png masks/a.png"
                reason = f"but there is no such file{hints[stem]}; {form}"
            else:
                reason = (
                    f"but there is no mask {mask}" if mask else "for which there is no mask; list it in the same line"
                )
            faults.append(MissingPair(f"{list_file} lists {line}, {reason}"))
    if not images and not masks and not faults:
        raise UserError(f"{list_file}: the list of the split is empty")
    return images, masks, faults


def unread_lists(root: Path) -> list[str]:
    """Return what looks like lists of train and val but is not read, relative to the root.

    That is a .txt in a folder below the root, as CVAT and VOC have it, or a table in the root.
    """
    names = [name for name in ("train", "val", *SYNONYMS) if same_split(name) in ("train", "val")]
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not is_hidden(entry.name))
    places = [*(f"{folder}/" for folder in folders), "ImageSets/Segmentation/"]
    lists = [f"{place}{name}.txt" for place in places for name in names]
    lists += [f"{name}{suffix}" for name in names for suffix in (".csv", ".tsv", ".json", ".lst", ".list")]
    return [path for path in lists if is_file(root / path)]


def held_out(stems: set[str], share: float) -> set[str]:
    """Return the stems for validation where nothing else divides the files; they depend only on the names.

    Each stem has a number from 0 to 1, a hash of it, and stems below `share` are held out. So a stem of a large set
    stays where it is when others come or go. In a small set these may be few or many by chance. So their number is kept
    within 5 % of the stems around the share (exactly at it for fewer than 20 stems), and at least one stem is held out
    and one left. Those with the lowest numbers come first.
    """
    ranked = sorted(
        (zlib.crc32(normalize("NFC", stem).encode("utf-8", "surrogateescape")) / 2**32, stem) for stem in stems
    )
    below, goal, slack = bisect_left(ranked, (share, "")), round(share * len(stems)), len(stems) // 20
    count = min(max(below, goal - slack, 1), max(goal + slack, 1), len(stems) - 1)
    return {stem for _, stem in ranked[:count]}


def _named(line: str, paths: list[str]) -> list[str]:
    """Return the files, of several with one stem, that have the suffix of a line; all if no file has it."""
    suffix = os.path.splitext(line)[1]  # noqa: PTH122 - as above
    return [path for path in paths if suffix and path.endswith(suffix)] or paths


def _columns(line: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a line as two paths, which may contain the separator."""
    for separator in ("\t", ",", ";", " "):
        parts = line.split(separator)
        for i in range(1, len(parts)):
            yield separator.join(parts[:i]).strip(AROUND), separator.join(parts[i:]).strip(AROUND)
