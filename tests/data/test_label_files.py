"""Labels files of labelling tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.folder import Folder
from data.label_files import read_labels
from tests.data.layouts import blocks, masks_of, photo, write
from utils.errors import UserError


def test_an_export_of_roboflow(tmp_path: Path) -> None:
    """Folders train/ and valid/, each with photos, masks beside them, and the names of the classes."""
    for split, count in (("train", 3), ("valid", 2)):
        for i in range(count):
            write(tmp_path / split / f"p{i}_jpg.rf.{i}a.jpg", photo(i))
            write(tmp_path / split / f"p{i}_jpg.rf.{i}a_mask.png", blocks(i, [0, 1, 2]))
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n2, tree\n")
    options = {"images": ".", "masks": ".", "mask_suffix": "_mask"}
    for split, count in (("train", 3), ("val", 2)):
        dataset = Folder(str(tmp_path), split, **options)  # type: ignore[arg-type]
        assert dataset.labels.names == ("background", "car", "tree") and not dataset.faults
        assert masks_of(dataset) == [blocks(i, [0, 1, 2]).tolist() for i in range(count)]


def test_an_export_of_cvat(tmp_path: Path) -> None:
    """Segmentation mask 1.1: colours, and labelmap.txt."""
    colors = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\ntree:51,221,255::\n"
    )
    for i in range(2):
        write(tmp_path / "JPEGImages" / f"{i}.jpg", photo(i))
        write(tmp_path / "SegmentationClass" / f"{i}.png", colors[blocks(i, [0, 1, 2])])
    dataset = Folder(str(tmp_path), "all", images="JPEGImages", masks="SegmentationClass")
    assert dataset.labels.names == ("background", "car", "tree") and dataset.labels.colors[1] == (250, 50, 83)
    assert masks_of(dataset) == [blocks(i, [0, 1, 2]).tolist() for i in range(2)]


def test_ids_are_merged_by_name_in_any_unicode_form(tmp_path: Path) -> None:
    """As macOS and other systems write the same letters."""
    path = tmp_path / "labels.json"
    entries = {"0": "background", "1": "caf\u00e9", "2": "cafe\u0301 "}
    path.write_text(json.dumps({i: {"class": name, "color": [int(i > "0"), 0, 0]} for i, name in entries.items()}))
    named = read_labels(path)
    assert named.labels.names == ("background", "caf\u00e9") and named.train_ids == {0: 0, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labelmap.txt", "car\n", r"labelmap\.txt: not a labels file \(not enough values"),
        ("labelmap.txt", "car:1,2::\n", "three whole numbers"),
        ("_classes.csv", "Pixel Value, Class\n0, a, b\n", r"_classes\.csv: not a labels file \(too many values"),
        ("labelmap.txt", "a:0,0,0::\n:0,0,9::\n", r"labelmap\.txt: not a labels file \(id 1 has an empty name"),
        ("_classes.csv", "Pixel Value, Class\n1, a\n1, b\n", "'1' occurs twice"),
        ("_classes.csv", "Pixel Value, Class\nx, a\n", "'x' is not an id"),
    ],
)
def test_mistakes_in_labels_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / name)
    with pytest.raises(UserError, match=r"python -m tools\.scan_labels root=.* writes a draft"):
        read_labels(tmp_path / "labels.json")
