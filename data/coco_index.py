"""What COCO's annotation files say of each photo, in a form that is small and quick to load."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from data.cache import cache_home
from data.labels import IGNORE_INDEX
from data.packed_strings import PackedStrings
from utils.errors import UserError

log = logging.getLogger(__name__)

LARGE = 2**24  # bytes of an annotation file, from which on its index is kept on disk


class Index(NamedTuple):
    """The photos in the order of their ids.

    Attributes:
        names: of the files.
        sizes: int32 (N, 2), height and width.
        regions: of each photo as JSON: [train id, outline] from the largest to the smallest; an outline is COCO's own,
            polygons or run lengths.
    """

    names: PackedStrings
    sizes: np.ndarray
    regions: PackedStrings


def load_index(annotations: Path, train_ids: dict[int, int], all_photos: bool) -> Index:
    """The index of an annotation file; of a large one it is made once, which takes a while.

    Args:
        train_ids: of each category; regions of categories with 0 are left out. Crowds get 255.
        all_photos: also those without any region that has a class.

    Raises:
        UserError: the file cannot be read, or is not of COCO's form.
    """
    state = annotations.stat()
    if state.st_size < LARGE:
        return make_index(annotations, train_ids, all_photos)
    facts = (str(annotations.resolve()), state.st_size, state.st_mtime_ns, sorted(train_ids.items()), all_photos)
    digest = hashlib.blake2b(repr(facts).encode() + Path(__file__).read_bytes(), digest_size=12).hexdigest()
    file = cache_home() / f"coco_{digest}.npz"
    try:
        with np.load(file) as kept:
            names = PackedStrings.from_arrays(kept["names"], kept["name_ends"])
            return Index(names, kept["sizes"], PackedStrings.from_arrays(kept["regions"], kept["region_ends"]))
    except (OSError, ValueError, KeyError, BadZipFile):  # not there, or damaged
        log.info("reading %s, which takes a while the first time", annotations)
    index = make_index(annotations, train_ids, all_photos)
    names, sizes, regions = index
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as out:
            np.savez(
                out,
                sizes=sizes,
                names=names.bytes,
                name_ends=names.ends,
                regions=regions.bytes,
                region_ends=regions.ends,
            )
        temporary.replace(file)
    except OSError as error:
        log.info("%s cannot be written (%s), so the next start will take as long", file.parent, error.strerror)
    return index


def make_index(annotations: Path, train_ids: dict[int, int], all_photos: bool) -> Index:
    """The index, read from the annotation file; arguments and errors as `load_index`."""
    try:
        content = json.loads(annotations.read_bytes())
        photos = sorted(content["images"], key=lambda photo: photo["id"])
        regions: dict[int, list[tuple[int, Any]]] = {photo["id"]: [] for photo in photos}
        for region in sorted(content["annotations"], key=lambda region: -region["area"]):
            label = train_ids[region["category_id"]]
            if label:
                painted = IGNORE_INDEX if region["iscrowd"] else label
                regions[region["image_id"]].append((painted, region["segmentation"]))
        if not all_photos:
            photos = [p for p in photos if any(label != IGNORE_INDEX for label, _ in regions[p["id"]])]
        return Index(
            PackedStrings(photo["file_name"] for photo in photos),
            np.array([(photo["height"], photo["width"]) for photo in photos], np.int32).reshape(-1, 2),
            PackedStrings(json.dumps(regions[photo["id"]]) for photo in photos),
        )
    except KeyError as error:
        raise UserError(f"{annotations}: not as COCO's annotations should be: {error} is missing or unknown") from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{annotations}: the annotations cannot be read ({error})") from error
