"""Outlines that labelme saved."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from data.folder import Folder
from tests.data.layouts import write_labels, write_outlines
from tests.in_process import run_here, succeeded
from tools.scan_labels import scan
from utils.errors import UnknownId, Unreadable


def png(mask: np.ndarray) -> str:
    """Return a mask as labelme keeps it."""
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


class TestLabelme:
    """Outlines as labelme saves them, against pixels that are inside by hand."""

    def dataset(self, root: Path) -> Folder:
        return Folder(
            str(root), "all", images=".", masks=".", mask_suffix=".json", labels=str(root / "own" / "labels.json")
        )

    def test_shapes(self, tmp_path: Path) -> None:
        names = ("background", "car", "tree")
        labels = {str(i): {"class": name, "color": [i, 0, 0]} for i, name in enumerate(names)}
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "labels.json").write_text(json.dumps(labels))
        shapes = [
            {"label": "car", "shape_type": "polygon", "points": [[2, 3], [12, 3], [12, 15], [2, 15]]},
            {"label": "tree", "shape_type": "rectangle", "points": [[20, 12], [10, 6]]},
            {"label": "__ignore__", "shape_type": "circle", "points": [[25, 5], [25, 8]]},
            {"label": "car", "shape_type": "point", "points": [[0, 0]]},
        ]
        write_outlines(tmp_path, shapes)
        dataset = self.dataset(tmp_path)
        found = dataset[0].mask
        y, x = np.mgrid[:20, :30]
        expected = np.where((x >= 2) & (x <= 12) & (y >= 3) & (y <= 15), 1, 0)
        expected[(x >= 10) & (x <= 20) & (y >= 6) & (y <= 12)] = 2
        ring = np.hypot(x - 25, y - 5)
        assert (found[ring < 2.5] == 255).all()
        np.testing.assert_array_equal(found[ring > 3.5], expected[ring > 3.5])
        assert dataset.size(0) == (20, 30) and (dataset.mask(0) == found).all()

    @pytest.mark.parametrize("labels", ["labels.json", "own.json"])
    def test_the_labels_file_is_no_outline(self, tmp_path: Path, labels: str) -> None:
        """Where tools.scan_labels writes it, and where data.labels says."""
        write_outlines(tmp_path, [{"label": "road", "points": [[0, 0], [9, 0], [9, 9]]}])
        words = [f"root={tmp_path}", "images=.", "masks=.", "mask_suffix=.json", f"output={tmp_path / labels}"]
        for overwrite in ("false", "true"):
            succeeded(run_here(scan, "scan_labels", *words, f"overwrite={overwrite}", cwd=tmp_path))
        options = {"images": ".", "masks": ".", "mask_suffix": ".json", "labels": str(tmp_path / labels)}
        dataset = Folder(str(tmp_path), "all", **options)  # type: ignore[arg-type]
        assert len(dataset) == 1 and not dataset.faults and dataset.labels.names == ("background", "road")

    def test_mistakes(self, tmp_path: Path) -> None:
        write_labels(tmp_path / "own")
        write_outlines(tmp_path, [{"label": "car", "points": [[0, 0], [9, 0], [9, 9]]}])
        with pytest.raises(UnknownId, match=r"a\.json: the label 'car' belongs to no class; .* are field, road"):
            self.dataset(tmp_path)[0]
        for text in ("{", "[]", '{"imageHeight": 4, "imageWidth": 4}'):
            (tmp_path / "a.json").write_text(text)
            with pytest.raises(Unreadable, match=r"a\.json: .*not"):
                self.dataset(tmp_path)[0]

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"points": [["x", 0], [9, 0], [9, 9]]}, r"shapes\.1\.points\.0\.0: must be a number"),
            *(
                ({"points": [[value, 5], [25, 5], [25, 25]]}, rf"shapes\.1\.points\.0\.0: must be {words}")
                for value, words in ((math.nan, "finite"), (math.inf, "finite"), (1e9, "at most 100,000"))
            ),
            ({"points": [[5, 5], [25, 5]]}, r"shapes\.1: a polygon of 2 points; correct or remove it"),
            ({"points": []}, "a polygon of 0 points"),
            ({"points": [[5]]}, r"shapes\.1\.points\.0: must have at least 2 values"),
            ({"points": [[5, 5]], "shape_type": "rectangle"}, "a rectangle of 1 point;"),
            ({"points": [[5, 5]] * 3, "shape_type": "circle"}, "a circle of 3 points"),
            ({"points": [[5, 5], [9, 9]], "shape_type": "cuboid"}, r"shapes\.1: its shape_type cuboid is unknown"),
            ({"points": [[5, 5], [9, 9]], "shape_type": "mask"}, r"shapes\.1: its mask is not a PNG in base64"),
            (
                {"points": [[5, 5], [9, 9]], "shape_type": "mask", "mask": png(np.ones((5, 4), np.uint8))},
                "its mask has 4x5 pixels, the box of its points 5x5",
            ),
            (
                {"points": [[0.1, 0.1], [0.5, 1], [0, 0.5]]},
                r"shapes\.1: its coordinates are from 0 to 1, expected pixels",
            ),
            ({"points": [[5, 5], [25, 5], [9, 9]], "label": " "}, r"shapes\.1: its label is empty"),
            ({"points": [[5, 5], [9, 9]], "label": ["road"]}, r"shapes\.1\.label: must be a string"),
            ({"points": [[5, 5]], "shape_type": ["polygon"]}, r"shapes\.1\.shape_type"),
        ],
    )
    def test_damaged_shapes(self, tmp_path: Path, shape: dict, message: str) -> None:
        write_labels(tmp_path / "own")
        write_outlines(tmp_path, [{"label": "road", "points": [[0, 0], [9, 0], [9, 9]]}, {"label": "road", **shape}])
        with pytest.raises(Unreadable, match=r"a\.json: .*" + message):
            self.dataset(tmp_path)[0]

    def test_masks_and_boxes(self, tmp_path: Path) -> None:
        """A mask is a PNG for the box of its points, of which parts may be outside the photo."""
        write_labels(tmp_path / "own")
        part = np.random.default_rng(0).integers(0, 2, (6, 8)).astype(np.uint8)
        shapes = [
            {"label": "road", "shape_type": "mask", "points": [[3.0, 2.0], [10.0, 7.0]], "mask": png(part * 255)},
            {"label": "road", "shape_type": "mask", "points": [[26, 17], [33, 22]], "mask": png(part)},
            {"label": "road", "shape_type": "mask", "points": [[-4, 12], [3, 17]], "mask": png(part.astype(bool))},
            {"label": "road", "shape_type": "rectangle", "points": [[12, 10], [15, 10], [15, 12], [12, 12]]},
        ]
        write_outlines(tmp_path, [{"label": "field", "points": [[-9, -9], [50, -9], [50, 50], [-9, 50]]}, *shapes])
        expected = np.zeros((20, 30), int)
        expected[2:8, 3:11] = part
        expected[17:, 26:] = part[:3, :4]
        expected[12:18, :4] = part[:, 4:]
        expected[10:13, 12:16] = 1
        np.testing.assert_array_equal(self.dataset(tmp_path)[0].mask, expected)

    @pytest.mark.parametrize(
        ("names", "background"),
        [
            ({"0": "Background", "1": "car"}, 0),
            ({"3": "car", "9": "BG"}, 1),
            ({"0": "car", "255": "tree"}, 255),  # ignored, although 255 is a class
            ({"0": "car"}, 255),
            ({"0": "bg", "1": "car\n"}, 0),
        ],
    )
    def test_what_is_in_no_outline(self, tmp_path: Path, names: dict[str, str], background: int) -> None:
        (tmp_path / "own").mkdir()
        labels = {key: {"class": name, "color": [int(key), 0, 0]} for key, name in names.items()}
        (tmp_path / "own" / "labels.json").write_text(json.dumps(labels))
        box, car = [[2, 3], [12, 3], [12, 15], [2, 15]], next(name for name in names.values() if "car" in name)
        write_outlines(tmp_path, [{"label": car, "points": box}, {"label": "background", "points": box[:3]}])
        found = self.dataset(tmp_path)[0].mask
        assert set(np.unique(found)) == {background, list(names.values()).index(car)}
        assert found[0, 0] == found[4, 11] == background and found[14, 3] != background

    def test_one_label_in_several_spellings_is_one_class_of_the_draft(self, tmp_path: Path) -> None:
        spellings = ("größe", normalize("NFD", "größe"), " größe\n")
        write_outlines(tmp_path, [{"label": label, "points": [[0, 0], [9, 0], [9, 9]]} for label in spellings])
        words = [f"root={tmp_path}", "images=.", "masks=.", "mask_suffix=.json"]
        succeeded(run_here(scan, "scan_labels", *words, cwd=tmp_path))
        dataset = Folder(str(tmp_path), "all", images=".", masks=".", mask_suffix=".json")
        assert dataset.labels.names == ("background", "größe") and dataset[0].mask[1, 5] == 1

    def test_labels_composed_and_decomposed(self, tmp_path: Path) -> None:
        labels = {"0": "background", "1": normalize("NFD", "größe")}
        (tmp_path / "own").mkdir()
        content = {key: {"class": name, "color": [int(key), 0, 0]} for key, name in labels.items()}
        (tmp_path / "own" / "labels.json").write_text(json.dumps(content))
        write_outlines(tmp_path, [{"label": normalize("NFC", "größe"), "points": [[0, 0], [9, 0], [9, 9]]}])
        assert self.dataset(tmp_path)[0].mask[1, 5] == 1
