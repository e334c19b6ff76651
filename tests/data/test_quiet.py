"""Damaged and odd files of which libraries that decode write to the console."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from tests.data.tiff_files import RGB, write_tiff

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

READ_ALL = """
import sys
from data.images import read_image
from data.masks import read_mask
from utils.errors import UserError
for path in sys.argv[1:]:
    for read in (read_image, read_mask):
        try: read(path)
        except UserError: pass
"""
WITHOUT = """
import sys, cv2
for path in sys.argv[1:]: cv2.imread(path)
"""


def encoded(suffix: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, suffix, **options)
    return file.getvalue()


def printed(code: str, paths: list[Path]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_decoders_say_nothing_themselves(tmp_path: Path) -> None:
    png, jpeg, tiff = encoded("PNG"), encoded("JPEG", quality=95), encoded("TIFF", compression="tiff_lzw")
    profile = b"iCCP" + b"x\0\0" + zlib.compress(b"nonsense" * 20)
    chunk = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    damaged = bytearray(tiff)
    damaged[200:4000:7] = bytes(value ^ 0x55 for value in damaged[200:4000:7])
    (tmp_path / "profile.png").write_bytes(png[:33] + chunk + png[33:])
    (tmp_path / "checksum.png").write_bytes(png[:-6] + bytes([png[-6] ^ 1]) + png[-5:])
    (tmp_path / "extra.jpg").write_bytes(jpeg[:-2] + b"\x12\x34\xff\xd9")
    (tmp_path / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2] + b"\xff\xd9")
    (tmp_path / "damaged.tif").write_bytes(damaged)
    (tmp_path / "half.tif").write_bytes(tiff[:3000])
    write_tiff(tmp_path / "gdal.tif", PIXELS, RGB, more=[(33550, 4, [1, 2, 3]), (42113, 4, [7])])
    paths = sorted(tmp_path.iterdir())
    loud = printed(WITHOUT, paths)
    for word in ("libpng warning: iCCP", "libpng error", "Corrupt JPEG data", "TIFFReadDirectory", "not yet in table"):
        assert word in loud
    assert printed(READ_ALL, paths) == ""


def test_others_are_heard_afterwards(tmp_path: Path) -> None:
    """C code that writes to stderr after a picture was read."""
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", quality=95)[:-2] + b"\x12\x34\xff\xd9")
    code = f"""
from data.images import read_image
read_image(r"{tmp_path / "a.png"}")
import cv2
cv2.imread(r"{tmp_path / "a.jpg"}")
"""
    assert "Corrupt JPEG data" in printed(code, [])
