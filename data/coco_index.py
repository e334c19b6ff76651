"""Read annotation files in COCO's format, and index them by photo in a form that is small and quick to load."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import reprlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from unicodedata import normalize

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from data import coco_outlines
from data.cache_files import kept_arrays
from data.coco_outlines import NothingToPaint, area, checked_outline
from data.packed_strings import PackedStrings
from utils.errors import UserError
from utils.safe_reading import FileSchema, check_schema, read_json
from utils.text import cleaned, one_line

log = logging.getLogger(__name__)

LARGE = 2**24
"""Bytes of an annotation file from which on its index is kept on disk."""
REMEDY = "correct it, or download or export the annotations again"

Id = int | float | str  # whole, but some exports write 1.0
WHOLE = re.compile("0|[1-9][0-9]{0,17}")


def _id(value: Any) -> Id:
    if type(value) in (int, str) or (type(value) is float and value.is_integer()):
        return value
    raise ValueError("must be a whole number or a string")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_AnyId = Annotated[Any, AfterValidator(_id)]
_Side = Annotated[int, Field(gt=0, lt=2**31), BeforeValidator(_whole)]  # some exports write 48.0


class _Photo(FileSchema):
    id: _AnyId
    file_name: str
    height: _Side
    width: _Side


class _Category(FileSchema):
    id: _AnyId
    name: str


class _Annotations(FileSchema):
    images: list[_Photo]
    annotations: list[Any]
    categories: list[_Category]


class Index(NamedTuple):
    """The content of an annotation file, for any choice of classes; the photos are in the order of their ids.

    Attributes:
        names: names of the files, as in the annotations.
        sizes: int32 (N, 2), height and width.
        regions: regions of each photo as JSON, the largest first: [place of the category, crowd (0 or 1), outline].
        present: bool (N, categories), whether a photo has a region of a category that is not a crowd.
        categories: (id, name) of each category, in the order of the ids.
        left_out: number of annotations that are left out, and the first of them, by the reason.
        faults: (place of the photo, what is wrong with one of its annotations).
        crowds: number of regions that are crowds.
    """

    names: PackedStrings
    sizes: np.ndarray
    regions: PackedStrings
    present: np.ndarray
    categories: list[tuple[Id, str]]
    left_out: dict[str, tuple[int, str]]
    faults: list[tuple[int, str]]
    crowds: int


def load_index(annotations: Path) -> Index:
    """Return the index of an annotation file; that of a large one is kept on disk.

    Raises:
        UserError: the file cannot be read, or is not in COCO's format.
    """
    try:
        state = annotations.stat()
    except OSError as error:
        raise UserError(f"{annotations}: cannot be read ({error.strerror})") from error
    if state.st_size < LARGE:
        return make_index(annotations)

    def make() -> dict[str, np.ndarray]:
        log.info("reading %s, which takes a while the first time", annotations)
        index = make_index(annotations)
        rest = json.dumps([index.categories, index.left_out, index.faults, index.crowds])
        return {
            "names": index.names.bytes,
            "name_ends": index.names.ends,
            "sizes": index.sizes,
            "regions": index.regions.bytes,
            "region_ends": index.regions.ends,
            "present": index.present,
            "rest": np.frombuffer(rest.encode(), np.uint8),
        }

    facts = (str(annotations.resolve()), state.st_size, state.st_mtime_ns)
    code = b"".join(Path(file).read_bytes() for file in (__file__, coco_outlines.__file__))
    digest = hashlib.blake2b(repr(facts).encode("utf-8", "replace") + code, digest_size=12).hexdigest()
    kept = kept_arrays(f"coco_{digest}", make)
    return Index(
        PackedStrings.from_arrays(kept["names"], kept["name_ends"]),
        kept["sizes"],
        PackedStrings.from_arrays(kept["regions"], kept["region_ends"]),
        kept["present"],
        *json.loads(kept["rest"].tobytes()),
    )


def load_categories(annotations: Path) -> list[tuple[Id, str]]:
    """Return the categories of an annotation file; errors as for `load_index`."""
    large = annotations.stat().st_size >= LARGE
    return load_index(annotations).categories if large else _read(annotations)[2]


def make_index(annotations: Path) -> Index:
    """Make the index of an annotation file; errors as for `load_index`.

    Annotations that cannot be used are left out and counted. A damaged outline is a fault of its photo.
    """
    photos, entries, categories = _read(annotations)
    places = {photo["id"]: place for place, photo in enumerate(photos)}
    columns = {category: column for column, (category, _) in enumerate(categories)}
    present = np.zeros((len(photos), len(categories)), bool)
    regions: list[list[tuple[float, list[Any]]]] = [[] for _ in photos]
    left_out: dict[str, tuple[int, str]] = {}
    faults: list[tuple[int, str]] = []
    for number, entry in enumerate(entries):
        named = isinstance(entry, dict) and "id" in entry
        what = f"annotation {reprlib.repr(entry['id'])}" if named else f"annotations[{number}]"
        try:
            column, place = _whose(entry, columns, places)
            photo = photos[place]
            what = f"{what} of {cleaned(photo['file_name'])}"
            crowd = _as_number(entry.get("iscrowd")) or 0
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
            known = type(size) in (int, float) and 0 < size < math.inf
            regions[place].append((size if known else area(outline), [column, int(crowd), outline]))
            present[place, column] |= not crowd
    if entries and not any(regions) and not faults:
        raise UserError(f"{annotations}: none of its {len(entries)} annotations can be used: {left_out_text(left_out)}")
    return Index(
        PackedStrings(photo["file_name"] for photo in photos),
        np.array([(photo["height"], photo["width"]) for photo in photos], np.int32).reshape(-1, 2),
        PackedStrings(json.dumps([r for _, r in sorted(some, key=lambda region: -region[0])]) for some in regions),
        present,
        categories,
        left_out,
        faults,
        sum(crowd for some in regions for _, (_, crowd, _) in some),
    )


def left_out_text(left_out: dict[str, tuple[int, str]]) -> str:
    """Return the annotations that are left out, by kind, as a text."""
    return ", ".join(f"{count} {reason} (such as {first})" for reason, (count, first) in left_out.items())


def _read(annotations: Path) -> tuple[list[dict[str, Any]], list[Any], list[tuple[Id, str]]]:
    """Return the photos in the order of their ids, the annotations, and the categories in the order of theirs."""
    content = read_json(annotations, REMEDY, largest=math.inf)
    check_schema(_Annotations, content, annotations, REMEDY)
    for entry in (*content["images"], *content["categories"]):
        entry["id"] = _as_number(entry["id"])
    for photo in content["images"]:
        photo["height"], photo["width"] = int(photo["height"]), int(photo["width"])
    for key, field in (("images", "id"), ("images", "file_name"), ("categories", "id")):
        for value, count in Counter(entry[field] for entry in content[key]).most_common(1):
            if count > 1:
                raise UserError(f"{annotations}: {count} {key} have the {field} {reprlib.repr(value)}; {REMEDY}")
    for category in content["categories"]:
        if not category["name"].strip():
            raise UserError(f"{annotations}: the category {one_line(str(category['id']))} has no name; {REMEDY}")
    for key in ("images", "categories"):
        content[key].sort(key=lambda entry: (isinstance(entry["id"], str), entry["id"]))
    categories = [(entry["id"], one_line(normalize("NFC", entry["name"].strip()))) for entry in content["categories"]]
    return content["images"], content["annotations"], categories


def _as_number(value: Any) -> Any:
    """Return the number that a text is, such as an id: tools write `1` in one place and `"1"` in another."""
    return int(value) if isinstance(value, str) and WHOLE.fullmatch(value) else value


def _whose(entry: Any, columns: dict[Id, int], places: dict[Id, int]) -> tuple[int, int]:
    """Return the column of an annotation's category and the place of its photo; raise NothingToPaint without them."""
    if not isinstance(entry, dict):
        raise NothingToPaint("of another form")
    photo, category = _as_number(entry.get("image_id")), _as_number(entry.get("category_id"))
    if not isinstance(photo, Id) or photo not in places:
        raise NothingToPaint("of photos that are not listed")
    if not isinstance(category, Id) or category not in columns:
        raise NothingToPaint("of categories that are not listed")
    return columns[category], places[photo]
