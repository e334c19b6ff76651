"""Read the tags of TIFFs: bands, sample format, bit depth, colour space.

OpenCV and Pillow ignore some of them: OpenCV reads only the first of several bands unless the photometric tag says RGB,
which GDAL writes for 8 bits only. Tags are those of the TIFF 6.0 specification.
"""

from __future__ import annotations

import io
import logging
import struct
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big endian, TIFF and BigTIFF
PHOTOMETRIC, EXTRA = 262, 338
PRIVATE = 65000  # a tag that decoders skip
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE = 0, 1, 2, 3
UNSIGNED, SIGNED, FRACTIONS = 1, 2, 3
FAX = (2, 3, 4)
JPEG = (6, 7)


class TiffFacts(NamedTuple):
    """The first picture of a TIFF.

    Attributes:
        size: height and width, as stored.
        bits: per value; the largest of the bands'.
        format: 1 unsigned, 2 signed, 3 floats.
        photometric: 0 for 0 is white, 1 for 0 is black, 2 for RGB, 3 for a palette.
        bands: number of them, with alpha.
        extra: what the bands beyond the colours are: 0 unspecified, 1 and 2 alpha.
        planar: whether the bands are stored one after the other.
        pictures: number of pages, without smaller versions and masks of the first.
        compression: 1 for none, 2 to 4 for those of fax machines, 6 and 7 for JPEG.
        end: place of the first byte after the pixels.
    """

    size: tuple[int, int]
    bits: int
    format: int
    photometric: int
    bands: int
    extra: tuple[int, ...]
    planar: bool
    pictures: int
    compression: int
    end: int

    @property
    def colors(self) -> int:
        """Number of bands that are not alpha."""
        return self.bands - sum(kind in (1, 2) for kind in self.extra)

    @property
    def is_grey(self) -> bool:
        """Whether the photometric tag says grey, which it also does for several bands."""
        return self.photometric in (MIN_IS_WHITE, MIN_IS_BLACK)

    @property
    def is_rgb(self) -> bool:
        """Whether three bands are red, green and blue: GDAL tags them as grey unless they have 8 bits."""
        return self.colors == 3 and (self.is_grey or self.photometric == RGB)


def read_facts(encoded: bytes) -> TiffFacts | None:
    """Return what the tags of a TIFF say; None if it is not a TIFF, or too damaged."""
    if encoded[:4] not in MAGIC:
        return None
    try:
        with opened(encoded) as file:
            first: Any = file.pages[0]
            ends = (offset + count for offset, count in zip(first.dataoffsets, first.databytecounts, strict=False))
            return TiffFacts(
                size=(first.imagelength, first.imagewidth),
                bits=int(np.max(first.bitspersample)),
                format=int(np.max(first.sampleformat or 4)),
                photometric=int(first.tags[PHOTOMETRIC].value),
                bands=first.samplesperpixel,
                extra=tuple(map(int, first.extrasamples)),
                planar=first.samplesperpixel > 1 and first.planarconfig == 2,
                pictures=len(pictures(file)),
                compression=int(first.compression),
                end=max(ends, default=0),
            )
    except Exception:  # damaged bytes raise many undocumented exceptions
        return None


def pictures(file: TiffFile) -> list[Any]:
    """Return the pages of a TIFF without smaller versions and transparency masks of the first."""
    return [page for number, page in enumerate(file.pages) if not number or not (page.is_reduced or page.is_mask)]  # type: ignore[union-attr]


def opened(encoded: bytes) -> TiffFile:
    """Open a TIFF in memory; tifffile is kept from logging, since its warnings name no file."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return TiffFile(io.BytesIO(encoded))


def refusal(facts: TiffFacts, encoded: bytes) -> str | None:
    """Return why a TIFF cannot be read as a picture; None if it can."""
    if facts.end > len(encoded):
        return "the image is truncated; copy or download it again"
    if facts.pictures > 1:
        return f"the file holds {facts.pictures} pictures (pages); save the one you need as a separate file"
    if facts.bits > 32 and facts.format != FRACTIONS:
        return f"its values have {facts.bits} bits; save it with 8 or 16 bits, unsigned"
    if facts.format == FRACTIONS:
        return f"its values are fractions (floats of {facts.bits} bits); save it with 8 or 16 bits, unsigned"
    if facts.format not in (UNSIGNED, SIGNED, 4):  # 4: unspecified
        return f"its values are not plain numbers (sample format {facts.format})"
    if facts.colors not in (1, 3) and (facts.is_grey or (facts.photometric == RGB and facts.bands > 4)):
        return (
            f"it has {facts.colors} bands; expected one (grey) or three (red, green, blue), with or without alpha."
            " Choose three, for example with gdal_translate -b 4 -b 3 -b 2"
        )
    return None


def as_colors(encoded: bytes) -> bytes:
    """Return a TIFF with tags that say RGB and do not mention alpha, by which decoders would multiply the colours."""
    patched, order = bytearray(encoded), "<" if encoded[:2] == b"II" else ">"
    with opened(encoded) as file:
        tags: Any = file.pages[0].tags
        struct.pack_into(f"{order}H", patched, tags[PHOTOMETRIC].valueoffset, RGB)
        if EXTRA in tags:
            struct.pack_into(f"{order}H", patched, tags[EXTRA].offset, PRIVATE)
    return bytes(patched)
