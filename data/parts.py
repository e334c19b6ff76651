"""Decode parts of photos and masks: the first rows, or a JPEG at a fraction of its resolution.

Decoders stop after the number of rows in the header, so they skip the rest of a copy whose header has a smaller height.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.images import orientation
from data.quiet import quiet

WORTH = 0.95
"""From this share of the rows on, decoding all of them takes as long."""
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN = b"\x00\x00\x00"
"""In the header of a PNG: the only compression and filter, not interlaced."""
GREY, RGB = 0, 2
"""Colour types of PNGs."""
MARGIN = 32
"""Rows of the largest block of a JPEG. Decoders interpolate colours between rows, and the last one has no next."""
REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
"""OpenCV's flags for JPEGs at 1/8, 1/4 and 1/2 of their resolution; with IMREAD_COLOR_RGB, colours stay."""
GAP = 2
"""A reduced JPEG is at least this many times as large as needed, as `reducing_gap` of Pillow's `thumbnail`."""


class Box(NamedTuple):
    """A part of a photo, in pixels; it may reach beyond the photo."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Return this part of an image or mask."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def within(self, size: tuple[int, int]) -> Box:
        """Return the part of this box that lies in a photo of a size (H, W)."""
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + self.height, size[0]), min(self.left + self.width, size[1])
        return Box(top, left, bottom - top, right - left)


def png_with_rows(encoded: bytes, rows: int, kind: int) -> bytes | None:
    """Return a PNG of only the first rows of another.

    Args:
        kind: its colour type, `GREY` or `RGB`.

    Returns:
        None if it is not a PNG of this type with 8 bits, is interlaced or truncated, or may be rotated.
    """
    head = encoded[12:29]
    if encoded[:8] != PNG or head[12:] != bytes([8, kind]) + PLAIN:
        return None
    place, chunk = 8, b""
    while chunk != b"IEND":
        if chunk == b"eXIf" or place + 8 > len(encoded):
            return None
        length, chunk = struct.unpack_from(">I4s", encoded, place)
        place += length + 12
    head = head[:8] + struct.pack(">I", rows) + head[12:]
    return b"".join([encoded[:12], head, struct.pack(">I", zlib.crc32(head)), memoryview(encoded)[33:]])


def decode_part(encoded: bytes, size: tuple[int, int], box: Box, size_used: tuple[int, int]) -> np.ndarray | None:
    """Decode a part of a photo without most of the rest: uint8 (h, w, 3), RGB.

    A JPEG is decoded at 1/8, 1/4 or 1/2 of its resolution if the part still has at least twice the size `size_used`;
    its edges are rounded to whole pixels of that resolution then.

    Args:
        encoded: the file, not truncated.
        size: (H, W) that the whole photo must have.
        box: the part, within the photo.
        size_used: (h, w) to which the part will be resized.

    Returns:
        None if the file is neither an 8-bit RGB PNG nor a baseline JPEG, is rotated, damaged or of another size, or if
        this would take as long as decoding it whole.
    """
    if encoded[:2] == b"\xff\xd8":
        return _part_of_jpeg(encoded, size, box, size_used)
    rows = box.top + box.height
    if rows > WORTH * size[0] or encoded[16:24] != struct.pack(">II", size[1], size[0]):
        return None
    first = png_with_rows(encoded, rows, RGB)
    if first is None:
        return None
    try:  # Pillow stops after the last row; OpenCV still decompresses the rest
        with quiet(), Image.open(io.BytesIO(first), formats=("PNG",)) as picture:
            return np.asarray(picture.crop((box.left, box.top, box.left + box.width, rows)))
    except Exception:  # damaged bytes raise undocumented exceptions; whoever reads the whole file reports it
        return None


def _part_of_jpeg(encoded: bytes, size: tuple[int, int], box: Box, size_used: tuple[int, int]) -> np.ndarray | None:
    frame = _baseline_frame(encoded)
    if frame is None or encoded[frame + 1 : frame + 5] != struct.pack(">HH", *size) or orientation(encoded) != 1:
        return None
    least = GAP * size_used[0], GAP * size_used[1]
    smaller = (n for n in REDUCED if box.height >= n * least[0] and box.width >= n * least[1])
    factor, rows = next(smaller, 1), min(box.top + box.height + MARGIN, size[0])
    if factor == 1 and rows > WORTH * size[0]:
        return None
    first = encoded[: frame + 1] + struct.pack(">H", rows) + encoded[frame + 3 :]
    try:
        with quiet():
            pixels = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR_RGB | REDUCED.get(factor, 0))
    except cv2.error:  # too large
        return None
    if pixels is None:
        return None
    ends = box.top, box.left, box.top + box.height, box.left + box.width
    top, left, bottom, right = ((2 * end + factor) // (2 * factor) for end in ends)
    return pixels[top:bottom, left:right]


def _baseline_frame(encoded: bytes) -> int | None:
    """Return the place of the frame header of a JPEG: bits, height, width and number of components.

    None if it does not have 8 bits, or if its rows are not coded one after the other, as in progressive JPEGs.
    """
    place, frame = 2, None
    try:
        while True:
            start, marker, length = struct.unpack_from(">BBH", encoded, place)
            if start != 0xFF:
                return None
            if marker in (0xC0, 0xC1):  # baseline and extended sequential, by Huffman codes
                frame = place + 4
            if marker == 0xDA:  # the first scan: of all components?
                whole = frame is not None and encoded[frame] == 8 and encoded[frame + 5] == encoded[place + 4]
                return frame if whole else None
            place += 2 + length
    except (struct.error, IndexError):
        return None
