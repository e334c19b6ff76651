"""Uncompressed TIFFs with any tags, written by the specification (TIFF 6.0), for what Pillow does not write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

BLACK_IS_ZERO, RGB = 1, 2
FORMATS = {"u": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    photometric: int = BLACK_IS_ZERO,
    *,
    extra: Sequence[int] = (),
    bits: int | None = None,
    planar: bool = False,
    order: Literal["<", ">"] = "<",
    more: Sequence[tuple[int, int, Sequence[int]]] = (),
    pictures: int = 1,
) -> None:
    """Write pixels (H, W) or (H, W, bands).

    Args:
        extra: what each band beyond the colours is: 0 unspecified, 1 and 2 alpha.
        bits: 2 or 4 to pack the values.
        planar: the bands one after the other.
        order: `<` or `>`.
        more: further tags: number, type (3: 16 bits, 4: 32 bits), values.
        pictures: how often the picture is listed.
    """
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, bands = pixels.shape
    if bits is not None:
        each = (pixels.reshape(height, -1, 1) >> np.arange(bits)[::-1]) & 1
        parts = [np.packbits(each.reshape(height, -1).astype(np.uint8), axis=1).tobytes()]
    else:
        ordered = pixels.astype(pixels.dtype.newbyteorder(order))
        parts = [ordered[..., i].tobytes() for i in range(bands)] if planar else [ordered.tobytes()]
    starts = [8 + sum(len(part) for part in parts[:i]) for i in range(len(parts))]
    tags: list[tuple[int, int, Sequence[int]]] = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits or 8 * pixels.dtype.itemsize] * bands), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, starts), (277, 3, [bands]), (278, 4, [height]),
        (279, 4, [len(part) for part in parts]), (284, 3, [2 if planar else 1]),
        (339, 3, [FORMATS[pixels.dtype.kind]] * bands), *more,
    ]  # fmt: skip
    if extra:
        tags.append((338, 3, extra))
    content = {"<": b"II*\0", ">": b"MM\0*"}[order]
    place = 8 + sum(len(part) for part in parts)
    content += struct.pack(f"{order}I", place) + b"".join(parts)
    for left in range(pictures)[::-1]:
        entries, beyond = b"", b""
        behind = place + 2 + 12 * len(tags) + 4
        for tag, kind, values in sorted(tags):
            raw = b"".join(struct.pack(order + {3: "H", 4: "I"}[kind], value) for value in values)
            entries += struct.pack(f"{order}HHI", tag, kind, len(values))
            entries += raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}I", behind + len(beyond))
            beyond += raw if len(raw) > 4 else b""
        place = behind + len(beyond)
        content += struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", place if left else 0)
        content += beyond
    path.write_bytes(content)
