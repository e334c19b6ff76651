"""Reading the first rows of a PNG, for crops."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from data.quiet import quiet

WORTH = 0.95
"""Share of the rows from which on OpenCV decodes all of them in the time that Pillow takes."""
RGB_HEADER = b"\x08\x02\x00\x00\x00"
"""Of a PNG: 8 bits, red, green and blue, the only compression and filter, not interlaced."""


def first_rows(encoded: bytes, rows: int, size: tuple[int, int]) -> np.ndarray | None:
    """Decode the first rows of a PNG, uint8 (rows, W, 3), RGB.

    Args:
        encoded: the file.
        size: (H, W) that the whole picture must have.

    Returns:
        None if the file is not a plain RGB PNG of that size, is damaged, or most of it is needed.
    """
    height, width = size
    if rows > WORTH * height or encoded[:8] != b"\x89PNG\r\n\x1a\n" or encoded[24:29] != RGB_HEADER:
        return None
    if b"eXIf" in encoded or b"IEND" not in encoded[-64:]:  # perhaps rotated, or truncated
        return None
    try:
        with quiet(), Image.open(io.BytesIO(encoded), formats=("PNG",)) as picture:
            if picture.size != (width, height):
                return None
            ((decoder, _, offset, arguments),) = picture.tile
            # The decoder stops when it has filled as many rows.
            picture._size = width, rows
            picture.tile = [(decoder, (0, 0, width, rows), offset, arguments)]  # type: ignore[list-item, unused-ignore]
            return np.asarray(picture)
    except Exception:  # what damaged bytes raise is not documented; whoever reads the whole file reports it
        return None
