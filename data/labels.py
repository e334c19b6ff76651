"""The label set of a data set: what its class indices mean and how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import cv2
import numpy as np

from utils.errors import UnknownId
from utils.text import enumeration, one_line, plural

Color = tuple[int, int, int]
"""Red, green, blue; 0 to 255."""

IGNORE_INDEX = 255
"""Value of a mask pixel that belongs to no class; losses and metrics skip it."""
LISTED = 10  # unknown ids in a message


@dataclass(frozen=True)
class LabelSet:
    """Class names and their RGB colours, in the order of the class indices.

    A label set belongs to a data set and travels in every checkpoint, so that no other part of the
    program needs to know a class list.

    Args:
        names: one name per class, index 0 first. Control characters are escaped, as in `\\x1b`, because names are
            printed, drawn and written to files. They are stored in Unicode's composed form (NFC).
        colors: (red, green, blue) of each class, 0 to 255.
        ids: value of each class in the files of the data set, 0 to 65534; None if these are the class indices. Servers
            of benchmarks expect these ids.

    Raises:
        ValueError: names, colours and ids differ in number, names repeat, or there are more than 255.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    ids: tuple[int, ...] | None = None

    ignore_index = IGNORE_INDEX

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(one_line(normalize("NFC", name)) for name in self.names))
        if len(self.names) != len(self.colors):
            raise ValueError(f"{plural(len(self.names), 'class name')} but {plural(len(self.colors), 'colour')}")
        if self.ids is not None and len(self.ids) != len(self.names):
            raise ValueError(f"{plural(len(self.names), 'class name')} but {plural(len(self.ids), 'id')}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"class names repeat: {', '.join(self.names)}")
        if not 1 <= len(self.names) <= IGNORE_INDEX:
            raise ValueError(f"{len(self.names)} classes; a mask of 8 bits holds 1 to 255")

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> np.ndarray:
        """Return the colour of each class index, uint8 (256, 3): 255, which is ignored, is white, the rest black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        palette[IGNORE_INDEX] = 255
        return palette

    def painted(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask uint8 (H, W) in the colours of the classes, uint8 (H, W, 3)."""
        return cv2.applyColorMap(mask, self.palette()[:, None])

    def id_table(self) -> np.ndarray:
        """Return `ids` as a table of class indices, (256,): uint8, or uint16 if there are ids above 255."""
        ids = self.ids or range(len(self))
        table = np.arange(256, dtype=np.uint8 if max(ids) <= 255 else np.uint16)
        table[: len(self)] = ids
        return table

    def to_dict(self) -> dict[str, list]:
        """Return plain lists, as checkpoints store them."""
        stored: dict[str, list] = {"names": list(self.names), "colors": [list(color) for color in self.colors]}
        return stored if self.ids is None else {**stored, "ids": list(self.ids)}

    @classmethod
    def from_dict(cls, stored: dict[str, list]) -> LabelSet:
        """The inverse of `to_dict`."""
        colors = tuple((int(r), int(g), int(b)) for r, g, b in stored["colors"])
        ids = tuple(int(i) for i in stored["ids"]) if stored.get("ids") else None
        return cls(tuple(stored["names"]), colors, ids)


def difference(known: Sequence[str], there: Sequence[str]) -> str:
    """Return what two different lists of classes differ in: some names, or their order."""
    different = [name for name in [*known, *there] if (name in known) != (name in there)]
    return f"{', '.join(different[:4]) or 'their order'}{' ...' if len(different) > 4 else ''}"


def lookup_table(train_ids: Mapping[int, int], ignored: tuple[int, ...] = ()) -> np.ndarray:
    """Return the train id of each raw id, -1 if it is unknown: int16 (256,), or (65536,) if there are ids above 255.

    Args:
        train_ids: raw id -> train id.
        ignored: raw ids that become 255.
    """
    table = np.full(256 if max([*train_ids, *ignored]) <= 255 else 65536, -1, np.int16)
    for raw, train_id in train_ids.items():
        table[raw] = train_id
    table[list(ignored)] = IGNORE_INDEX
    return table


def to_train_ids(raw: np.ndarray, table: np.ndarray, path: str, remedy: str = "") -> np.ndarray:
    """Convert raw ids (H, W), uint8 or uint16, to train ids, uint8 (H, W).

    Args:
        table: result of `lookup_table`.
        path: path of the mask, for messages.
        remedy: end of the message: what the user can do.

    Raises:
        UnknownId: the mask has ids that the table does not know.
    """
    if raw.dtype == np.uint8:
        table = table[:256]
    elif len(table) == 256:
        table = np.pad(table, (0, 65536 - 256), constant_values=-1)
    unknown = (table < 0).astype(np.uint8)
    strange = _looked_up(raw, unknown)
    if strange.any():
        found = np.unique(raw[strange > 0]).tolist()
        raise UnknownId(f"{path}: the mask has ids outside the label set: {enumeration(found, LISTED)}{remedy}")
    return _looked_up(raw, table.astype(np.uint8))


def voc_colors(count: int) -> tuple[Color, ...]:
    """Return the first colours of Pascal VOC's colour map, which distributes the bits of an index over the channels."""
    colors = np.zeros((count, 3), int)
    for place in range(8):
        bits = np.arange(count)[:, None] >> (3 * place + np.arange(3)) & 1
        colors |= bits << (7 - place)
    return tuple((red, green, blue) for red, green, blue in colors.tolist())


def _looked_up(raw: np.ndarray, table: np.ndarray) -> np.ndarray:
    if raw.dtype == np.uint8:
        return cv2.LUT(raw, table).reshape(raw.shape)  # several times as fast as indexing
    return table.take(raw)
