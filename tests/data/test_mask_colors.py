"""Masks whose colours are not exactly those of the classes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.folder import Folder
from tests.data.layouts import photo, write, write_labels
from utils.errors import UnknownId


def test_colours_of_smoothed_edges(tmp_path: Path) -> None:
    """Each goes to the nearest class colour, by a loop over all; beyond the tolerance it is an error."""
    write_labels(tmp_path)
    write(tmp_path / "images" / "a.jpg", photo(0, (32, 32)))
    sharp = np.zeros((32, 32, 3), np.uint8)
    sharp[8:24, 8:24, 0] = 200
    smooth = np.asarray(
        Image.fromarray(sharp).resize((20, 20), Image.Resampling.BILINEAR).resize((32, 32), Image.Resampling.BILINEAR)
    )
    write(tmp_path / "masks" / "a.png", smooth)
    known = [(0, 0, 0), (200, 0, 0), (255, 255, 255)]
    expected = np.zeros((32, 32), int)
    for row, column in np.ndindex(32, 32):
        distances = [np.hypot.reduce(smooth[row, column].astype(float) - color) for color in known]
        expected[row, column] = [0, 1, 255][int(np.argmin(distances))]
    found = Folder(str(tmp_path), "all", color_tolerance=100)[0].mask
    np.testing.assert_array_equal(found, expected)
    assert 0 < (found == 1).sum() < 32 * 32
    needed = math.ceil(max(min(math.dist(pixel, color) for color in known) for pixel in smooth.reshape(-1, 3).tolist()))
    assert needed > 20
    advice = rf"in \d+ pixels; name it in the labels, or data\.color_tolerance={needed} maps the colours of this mask"
    with pytest.raises(UnknownId, match=advice):
        Folder(str(tmp_path), "all", color_tolerance=20)[0]


def test_grey_ids_in_three_channels_with_a_tolerance(tmp_path: Path) -> None:
    """They are not colours near black, but greys between black and white are colours."""
    colors = {"0": [0, 0, 0], "1": [255, 0, 0], "2": [0, 0, 255], "255": [250, 250, 250]}
    content = {key: {"class": f"class {key}", "color": color} for key, color in colors.items()}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    write(tmp_path / "images" / "a.jpg", photo(0, (32, 32)))
    ids = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 3
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.repeat(ids[..., None], 3, 2)).save(tmp_path / "masks" / "a.png")
    np.testing.assert_array_equal(Folder(str(tmp_path), "all", color_tolerance=100)[0].mask, ids)
    greys = np.linspace(0, 250, 32 * 32).astype(np.uint8).reshape(32, 32)
    Image.fromarray(np.repeat(greys[..., None], 3, 2)).save(tmp_path / "masks" / "a.png")
    found = Folder(str(tmp_path), "all", color_tolerance=220)[0].mask
    np.testing.assert_array_equal(found, np.where(greys <= 125, 0, 3))
