"""What COCO's annotation files say of each photo, in a form that is small and quick to load."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import reprlib
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from data import coco_outlines
from data.cache import cache_home
from data.coco_outlines import NothingToPaint, area, checked_outline
from data.packed_strings import PackedStrings
from utils.errors import UserError
from utils.files import atomic_path
from utils.text import cleaned

log = logging.getLogger(__name__)

LARGE = 2**24
"""Bytes of an annotation file, from which on its index is kept on disk."""
UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # the other surrogates are bytes of names that are not UTF-8
FORM = '{"images": [...], "annotations": [...], "categories": [...]}'


Id = int | float | str  # whole, but some exports write 1.0


class Index(NamedTuple):
    """An annotation file, whatever classes it is read for; the photos in the order of their ids.

    Attributes:
        names: of the files, as the annotations have them.
        sizes: int32 (N, 2), height and width.
        regions: of each photo as JSON: [place of the category, crowd (0 or 1), outline] from the largest to the
            smallest.
        present: bool (N, categories), whether a photo has a region of a category that is not a crowd.
        categories: (id, name) of each category, in the order of the ids.
        left_out: what is odd -> how many annotations are left out for it, and the first of them.
        faults: (place of the photo, what is wrong with an annotation of it).
    """

    names: PackedStrings
    sizes: np.ndarray
    regions: PackedStrings
    present: np.ndarray
    categories: list[tuple[Id, str]]
    left_out: dict[str, tuple[int, str]]
    faults: list[tuple[int, str]]


def load_index(annotations: Path) -> Index:
    """The index of an annotation file; of a large one it is made once, which takes a while.

    Raises:
        UserError: the file cannot be read, or is not of COCO's form.
    """
    try:
        state = annotations.stat()
    except OSError as error:
        raise UserError(f"{annotations}: the annotations cannot be read ({error.strerror})") from error
    if state.st_size < LARGE:
        return make_index(annotations)
    facts = (str(annotations.resolve()), state.st_size, state.st_mtime_ns)
    code = b"".join(Path(file).read_bytes() for file in (__file__, coco_outlines.__file__))
    digest = hashlib.blake2b(repr(facts).encode("utf-8", "replace") + code, digest_size=12).hexdigest()
    file = cache_home() / f"coco_{digest}.npz"
    try:
        with np.load(file) as kept:
            return Index(
                PackedStrings.from_arrays(kept["names"], kept["name_ends"]),
                kept["sizes"],
                PackedStrings.from_arrays(kept["regions"], kept["region_ends"]),
                kept["present"],
                *json.loads(kept["rest"].tobytes()),
            )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):  # not there, or damaged
        log.info("reading %s, which takes a while the first time", annotations)
    index = make_index(annotations)
    rest = json.dumps([index.categories, index.left_out, index.faults])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("wb") as out:
            np.savez(
                out,
                sizes=index.sizes,
                names=index.names.bytes,
                name_ends=index.names.ends,
                regions=index.regions.bytes,
                region_ends=index.regions.ends,
                present=index.present,
                rest=np.frombuffer(rest.encode(), np.uint8),
            )
    except (OSError, UserError) as error:
        log.info("the index of %s cannot be kept (%s), so the next start will take as long", annotations, error)
    return index


def load_categories(annotations: Path) -> list[tuple[Id, str]]:
    """The categories of an annotation file, of which the rest may be wrong if it is small; errors as `load_index`."""
    if annotations.stat().st_size >= LARGE:
        return load_index(annotations).categories
    return _categories(_read(annotations)["categories"], annotations)


def make_index(annotations: Path) -> Index:
    """The index, read from the annotation file.

    An annotation that cannot be used is left out and counted. One whose outline is damaged is a fault of its photo.

    Raises:
        UserError: as `load_index`.
    """
    content = _read(annotations)
    categories = _categories(content["categories"], annotations)
    photos = _photos(content["images"], annotations)
    places = {photo["id"]: place for place, photo in enumerate(photos)}
    columns = {category: column for column, (category, _) in enumerate(categories)}
    present = np.zeros((len(photos), len(categories)), bool)
    regions: list[list[tuple[float, list[Any]]]] = [[] for _ in photos]
    left_out: dict[str, tuple[int, str]] = {}
    faults: list[tuple[int, str]] = []
    for number, entry in enumerate(content["annotations"]):
        named = isinstance(entry, dict) and "id" in entry
        what = f"annotation {reprlib.repr(entry['id'])}" if named else f"annotations[{number}]"
        try:
            column, place = _whose(entry, columns, places)
            photo = photos[place]
            what = f"{what} of {cleaned(photo['file_name'])}"
            crowd = entry.get("iscrowd") or 0
            if crowd not in (0, 1):
                raise NothingToPaint("with an iscrowd other than 0 and 1")
            outline = checked_outline(entry.get("segmentation"), photo["height"], photo["width"])
        except NothingToPaint as reason:
            count, first = left_out.get(str(reason), (0, what))
            left_out[str(reason)] = count + 1, first
        except ValueError as error:
            faults.append((place, f"{annotations}: {what}: {error}; correct or remove it"))
        else:
            size = entry.get("area")
            known = type(size) in (int, float) and 0 <= size < math.inf
            regions[place].append((size if known else area(outline), [column, int(crowd), outline]))
            present[place, column] |= not crowd
    if content["annotations"] and not any(regions) and not faults:
        count = len(content["annotations"])
        raise UserError(f"{annotations}: none of its {count} annotations can be used: {left_out_text(left_out)}")
    return Index(
        PackedStrings(photo["file_name"] for photo in photos),
        np.array([(photo["height"], photo["width"]) for photo in photos], np.int32).reshape(-1, 2),
        PackedStrings(json.dumps([r for _, r in sorted(some, key=lambda region: -region[0])]) for some in regions),
        present,
        categories,
        left_out,
        faults,
    )


def left_out_text(left_out: dict[str, tuple[int, str]]) -> str:
    """Return the annotations that are left out, by kind, as a text."""
    return ", ".join(f"{count} {reason} (such as {first})" for reason, (count, first) in left_out.items())


def _read(annotations: Path) -> dict[str, Any]:
    try:
        content = json.loads(annotations.read_bytes())
    except RecursionError as error:
        raise UserError(f"{annotations}: nested too deeply for annotations; expected {FORM}") from error
    except OSError as error:
        raise UserError(f"{annotations}: the annotations cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(
            f"{annotations}: the annotations cannot be read ({error}); download or export them again"
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f'{annotations}: there is no list "{key}" in it; expected {FORM}')
    return content


def _is_id(value: Any) -> bool:
    return type(value) in (int, str) or (type(value) is float and value.is_integer())


def _categories(entries: list[Any], annotations: Path) -> list[tuple[Id, str]]:
    found: dict[Id, str] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not _is_id(entry.get("id")) or not _is_text(entry.get("name")):
            raise UserError(
                f'{annotations}: categories[{number}] is {reprlib.repr(entry)}; expected {{"id": 1, "name": "person"}}'
            )
        if entry["id"] in found:
            raise UserError(f"{annotations}: categories[{number}] has the id {entry['id']!r} of another; renumber them")
        found[entry["id"]] = entry["name"].strip()
    return sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0]))


def _photos(entries: list[Any], annotations: Path) -> list[dict[str, Any]]:
    ids, names = set(), set()
    for number, photo in enumerate(entries):
        where = f"{annotations}: images[{number}]"
        if not isinstance(photo, dict):
            raise UserError(f"{where} is {reprlib.repr(photo)}; expected id, file_name, height and width of a photo")
        for key, right, expected in (
            ("id", _is_id(photo.get("id")), "a whole number"),
            ("file_name", _is_text(photo.get("file_name")), "the photo's path below its folder"),
            ("height", _is_size(photo.get("height")), "pixels"),
            ("width", _is_size(photo.get("width")), "pixels"),
        ):
            if not right:
                is_ = f'its "{key}" is {reprlib.repr(photo[key])}' if key in photo else f'it has no "{key}"'
                raise UserError(f"{where}: {is_}; expected {expected}")
        if photo["id"] in ids or photo["file_name"] in names:
            raise UserError(
                f"{where}: another photo has its id ({photo['id']!r}) or file_name ({cleaned(photo['file_name'])}) too;"
                " remove one of them"
            )
        ids.add(photo["id"])
        names.add(photo["file_name"])
    return sorted(entries, key=lambda photo: (isinstance(photo["id"], str), photo["id"]))


def _is_text(value: Any) -> bool:
    """Whether a value is a text that a file can be called, or a class."""
    return isinstance(value, str) and bool(value.strip()) and not UNUSABLE.search(value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _whose(entry: Any, columns: dict[Id, int], places: dict[Id, int]) -> tuple[int, int]:
    """The column of the category and the place of the photo of an annotation.

    Raises:
        NothingToPaint: there is none.
    """
    if not isinstance(entry, dict):
        raise NothingToPaint("of another form")
    photo, category = entry.get("image_id"), entry.get("category_id")
    if not _is_id(photo) or photo not in places:
        raise NothingToPaint("of photos that are not listed")
    if not _is_id(category) or category not in columns:
        raise NothingToPaint("of categories that are not listed")
    return columns[category], places[photo]
