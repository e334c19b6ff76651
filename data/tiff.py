"""What the tags of a TIFF say: bands, sample format, bit depth, colour space.

OpenCV and Pillow do not look at all of them. OpenCV takes the first band of several for a grey picture unless the
photometric tag says RGB, which GDAL writes for 8 bits only. Tags as in the TIFF 6.0 specification.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian, TIFF and BigTIFF
WIDTH, HEIGHT, BITS, PHOTOMETRIC, BANDS, FORMAT, EXTRA, SUBFILE, PLANAR = 256, 257, 258, 262, 277, 339, 338, 254, 284
PRIVATE = 65000  # a tag that decoders skip
PARTS = ((273, 279), (324, 325))  # where strips and tiles begin, and how many bytes each has
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
UNSIGNED, SIGNED, FRACTIONS = 1, 2, 3
_READ = {
    WIDTH,
    HEIGHT,
    BITS,
    PHOTOMETRIC,
    BANDS,
    FORMAT,
    EXTRA,
    SUBFILE,
    PLANAR,
    *(tag for pair in PARTS for tag in pair),
}
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of the numbers that are read here


class Tag(NamedTuple):
    """The numbers of a tag, and its byte offset in the file."""

    values: tuple[int, ...]
    place: int


class TiffFacts(NamedTuple):
    """The first picture of a TIFF.

    Attributes:
        size: height and width, as stored.
        bits: per value; the largest of the bands'.
        format: 1 unsigned, 2 signed, 3 fractions; others as in the specification.
        photometric: 0 white is 0, 1 black is 0, 2 RGB, 3 palette; others as in the specification.
        bands: how many, with alpha.
        extra: what the bands beyond the colours are: 0 unspecified, 1 and 2 alpha.
        planar: whether the bands are stored one after the other.
        pictures: how many there are, without smaller versions and masks of the first.
        end: the first byte behind the pixels.
    """

    size: tuple[int, int]
    bits: int
    format: int
    photometric: int
    bands: int
    extra: tuple[int, ...]
    planar: bool
    pictures: int
    end: int

    @property
    def colors(self) -> int:
        """Bands that are not alpha."""
        return self.bands - sum(kind in (1, 2) for kind in self.extra)

    @property
    def is_grey(self) -> bool:
        """Whether the photometric tag says so; of several bands it says nothing."""
        return self.photometric in (MIN_IS_WHITE, MIN_IS_BLACK)

    @property
    def is_rgb(self) -> bool:
        """Whether three bands are red, green and blue: GDAL tags them as grey unless they have 8 bits."""
        return self.colors == 3 and (self.is_grey or self.photometric == RGB)


def read_facts(encoded: bytes) -> TiffFacts | None:
    """What a TIFF says of itself; None if it is none, or too damaged to say."""
    if encoded[:4] not in MAGIC:
        return None
    try:
        tags, following = _directory(encoded, _first_directory(encoded))
        pictures, seen = 1, set[int]()
        while following and following not in seen and len(seen) < 1000:
            seen.add(following)
            others, following = _directory(encoded, following)
            pictures += not _first(others, SUBFILE, 0) & 5  # bit 0: a smaller version, bit 2: a transparency mask
        bands = _first(tags, BANDS, 1)
        return TiffFacts(
            size=(_first(tags, HEIGHT), _first(tags, WIDTH)),
            bits=max(tags[BITS].values) if BITS in tags else 1,
            format=max(tags[FORMAT].values) if FORMAT in tags else 1,
            photometric=_first(tags, PHOTOMETRIC),
            bands=bands,
            extra=tags[EXTRA].values if EXTRA in tags else (),
            planar=bands > 1 and _first(tags, PLANAR, 1) == 2,
            pictures=pictures,
            end=max((sum(part) for one, other in PARTS if one in tags
                     for part in zip(tags[one].values, tags[other].values, strict=False)), default=0),
        )  # fmt: skip
    except (struct.error, KeyError, IndexError, ValueError):
        return None


def refusal(facts: TiffFacts, encoded: bytes) -> str | None:
    """Why the pixels of a TIFF cannot be taken as a picture, or None if they can."""
    if facts.end > len(encoded):
        return "the image is truncated; copy or download it again"
    if facts.pictures > 1:
        return f"the file holds {facts.pictures} pictures (pages); save the one that is meant as a separate file"
    if facts.format == FRACTIONS:
        return f"its values are fractions (floats of {facts.bits} bits); save it with 8 or 16 bits, unsigned"
    if facts.format not in (UNSIGNED, SIGNED, 4):  # 4: not said
        return f"its values are no plain numbers (sample format {facts.format})"
    if facts.colors not in (1, 3) and (facts.is_grey or (facts.photometric == RGB and facts.bands > 4)):
        return (
            f"it has {facts.colors} bands; expected one (grey) or three (red, green, blue), with or without alpha."
            " Choose three, for example with gdal_translate -b 4 -b 3 -b 2"
        )
    return None


def as_colors(encoded: bytes) -> bytes:
    """A TIFF of several bands whose tags say that they are red, green and blue, and nothing of alpha.

    Decoders premultiply colours by an alpha band otherwise.
    """
    patched, order = bytearray(encoded), "<" if encoded[:2] == b"II" else ">"
    tags, _ = _directory(encoded, _first_directory(encoded))
    value = tags[PHOTOMETRIC].place + (12 if _is_big(encoded) else 8)
    struct.pack_into(f"{order}H", patched, value, RGB)
    if EXTRA in tags:
        struct.pack_into(f"{order}H", patched, tags[EXTRA].place, PRIVATE)
    return bytes(patched)


def _is_big(encoded: bytes) -> bool:
    return encoded[2:4] in (b"+\0", b"\0+")


def _first_directory(encoded: bytes) -> int:
    order = "<" if encoded[:2] == b"II" else ">"
    return struct.unpack_from(order + ("Q" if _is_big(encoded) else "I"), encoded, 8 if _is_big(encoded) else 4)[0]


def _directory(encoded: bytes, start: int) -> tuple[dict[int, Tag], int]:
    """The tags of the directory at a byte offset, and where the next one is; 0 if there is none."""
    order = "<" if encoded[:2] == b"II" else ">"
    count_format, entry, word = ("Q", 20, "Q") if _is_big(encoded) else ("H", 12, "I")
    (count,) = struct.unpack_from(order + count_format, encoded, start)
    first = start + struct.calcsize(order + count_format)
    tags = {}
    for place in range(first, first + min(count, 4096) * entry, entry):
        name, kind, length = struct.unpack_from(f"{order}HH{word}", encoded, place)
        if kind not in _TYPES or name not in _READ:
            continue
        layout, value = f"{order}{length}{_TYPES[kind]}", place + 4 + struct.calcsize(order + word)
        if struct.calcsize(layout) > struct.calcsize(order + word):  # too long to be stored in the entry itself
            (value,) = struct.unpack_from(order + word, encoded, value)
        tags[name] = Tag(struct.unpack_from(layout, encoded, value), place)
    return tags, struct.unpack_from(order + word, encoded, first + count * entry)[0]


def _first(tags: dict[int, Tag], name: int, default: int | None = None) -> int:
    return default if default is not None and name not in tags else tags[name].values[0]
