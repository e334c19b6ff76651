"""A draft of the labels file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from data.folder import Folder
from tests.data.layouts import blocks, photo, write, write_outlines
from tests.data.tiff_files import write_tiff
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table
from tools.scan_labels import scan
from utils.errors import UnknownId


def scanned_beside_photos(root: Path, folder: str, suffix: str, output: Path) -> CompletedProcess[str]:
    """Scan masks that are in one folder with their photos."""
    words = [f"root={root}", f"images={folder}", f"masks={folder}", f"mask_suffix={suffix}", f"output={output}"]
    done = succeeded(run_here(scan, "scan_labels", *words, cwd=root))
    return done


class TestScan:
    """The draft holds what occurs, with shares of the pixels by hand."""

    def test_ids(self, tmp_path: Path) -> None:
        for i in range(2):
            write(tmp_path / "images" / f"{i}.jpg", photo(i, (16, 16)))
            mask = np.zeros((16, 16), np.uint8)
            mask[:4], mask[4:6, :8] = 7, 255
            mask[15, 15] = 3 * i
            write(tmp_path / "masks" / f"{i}.png", mask)
        done = succeeded(run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path))
        labels = json.loads((tmp_path / "labels.json").read_text())
        assert list(labels) == ["0", "3", "7"]
        assert "25.000%" in done.stderr and f"{1 / 512:.3%}" in done.stderr
        assert ["255", "ignored", "", "6.250%", "2"] in rows_of_table(done.stderr)
        assert Folder(str(tmp_path), "all").labels.names == tuple(entry["class"] for entry in labels.values())
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert_refused(done, "labels.json exists already", "overwrite=true")

    def test_any_names_of_folders(self, tmp_path: Path) -> None:
        root = tmp_path / "größe [1], (2)"
        write(root / "图像" / "a.jpg", photo(0))
        write(root / "маска(1)" / "a_м.png", blocks(0, [0, 1]))
        words = [f"root={root}", "images=图像", "masks=маска(1)", "mask_suffix=_м"]
        done = run_here(scan, "scan_labels", *words, cwd=tmp_path)
        assert done.returncode == 0 and (root / "labels.json").is_file(), done.stderr

    @pytest.mark.parametrize("smoothed", ["bilinear", "blurred", "jpeg"])
    def test_the_main_colours_of_smoothed_masks(self, smoothed: str, tmp_path: Path) -> None:
        """The classes are those that were drawn, and the tolerance is the least that reads the masks."""
        colors = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (64, 0, 0)]  # the last is between two others
        for i in range(2):
            write(tmp_path / "images" / f"{i}.jpg", photo(i, (96, 96)))
            mask = Image.new("RGB", (96, 96))
            draw = ImageDraw.Draw(mask)
            for place, color in enumerate(colors[1:]):
                x, y = 4 + 46 * (place % 2), 5 + 44 * (place // 2)
                (draw.rectangle if place % 2 and smoothed != "jpeg" else draw.ellipse)(
                    (x, y, x + 38, y + 35 + 3 * i), fill=color
                )
            if smoothed == "bilinear":
                mask = mask.resize((48, 48), Image.Resampling.NEAREST).resize((96, 96), Image.Resampling.BILINEAR)
            elif smoothed == "blurred":
                mask = mask.filter(ImageFilter.GaussianBlur(0.7))
            else:
                mask.save(tmp_path / "noise.jpg", quality=90)  # and then as PNG: a JPEG itself is refused
                mask = Image.open(tmp_path / "noise.jpg")
            (tmp_path / "masks").mkdir(exist_ok=True)
            mask.save(tmp_path / "masks" / f"{i}.png")
        done = succeeded(run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path))
        found = [entry["color"] for entry in json.loads((tmp_path / "labels.json").read_text()).values()]
        noise = 3 if smoothed == "jpeg" else 0
        assert len(found) == len(colors)
        assert all(min(np.abs(np.subtract(color, other)).max() for other in found) <= noise for color in colors)
        line = next(line for line in done.stderr.splitlines() if line.startswith("left out: "))
        pixels = np.concatenate(
            [np.asarray(Image.open(tmp_path / "masks" / f"{i}.png")).reshape(-1, 3) for i in (0, 1)]
        )
        distances = np.linalg.norm(pixels[:, None] - np.array([*found, [255] * 3], float), axis=2).min(1)
        strays = len({tuple(color) for color, far in zip(pixels.tolist(), distances, strict=True) if far > 0})
        assert f"left out: {strays} colours with {np.mean(distances > 0):.2%} of the pixels" in line
        needed = math.ceil(distances.max())
        assert f"data.color_tolerance={needed} " in line
        assert {*np.unique(Folder(str(tmp_path), "all", color_tolerance=needed)[0].mask)} == {0, 1, 2, 3, 4}
        with pytest.raises(UnknownId):
            [Folder(str(tmp_path), "all", color_tolerance=needed - 1)[i] for i in (0, 1)]

    def test_thin_shapes_and_rare_colours_of_clean_masks(self, tmp_path: Path) -> None:
        write(tmp_path / "images" / "0.jpg", photo(0, (64, 64)))
        mask = np.zeros((64, 64, 3), np.uint8)
        mask[:20], mask[40], mask[50, 7] = (0, 0, 200), (250, 170, 30), (0, 220, 0)
        write(tmp_path / "masks" / "0.png", mask)
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        found = [entry["color"] for entry in json.loads((tmp_path / "labels.json").read_text()).values()]
        assert found == [[0, 0, 0], [0, 0, 200], [250, 170, 30], [0, 220, 0]] and "left out" not in done.stderr
        assert done.stderr.endswith(f"\npython -m tools.check_data data=folder data.root={tmp_path}\n")

    @pytest.mark.parametrize("renumbered", [False, True])
    def test_palettes(self, renumbered: bool, tmp_path: Path) -> None:
        """The colours of a palette that all masks share belong to its indices; else they tell the classes."""
        colors = np.array([(70, 130, 180), (107, 142, 35), (220, 20, 60)], np.uint8)
        truths = np.random.default_rng(0).integers(0, 3, (3, 16, 16), np.uint8)
        for i, truth in enumerate(truths):
            write(tmp_path / "images" / f"{i}.jpg", photo(i, (16, 16)))
            order = np.roll(np.arange(3), i if renumbered else 1)  # index -> class
            picture = Image.fromarray(np.argsort(order).astype(np.uint8)[truth])
            picture.putpalette(colors[order].tobytes())
            (tmp_path / "masks").mkdir(exist_ok=True)
            picture.save(tmp_path / "masks" / f"{i}.png")
        succeeded(run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path))
        labels = json.loads((tmp_path / "labels.json").read_text())
        assert sorted(entry["color"] for entry in labels.values()) == sorted(colors.tolist())
        dataset = Folder(str(tmp_path), "all")
        for i, truth in enumerate(truths):
            shown = np.array([labels[str(n)]["color"] for n in range(3)])[dataset[i].mask]
            np.testing.assert_array_equal(shown, colors[truth])

    def test_nothing_is_written_if_no_mask_can_be_read_or_used(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        write(tmp_path / "masks" / "0.jpg", photo(0, (16, 16)))
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert_refused(done, "there are no masks; found 0.jpg, whose compression changes class ids")
        Image.fromarray(np.zeros((16, 16), np.float32)).save(tmp_path / "masks" / "0.tif")
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 1 and "1 of 1 mask could not be read" in done.stderr
        Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(tmp_path / "masks" / "0.tif")
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert_refused(done, "the masks have 399 ids, as of instances")
        assert not (tmp_path / "labels.json").exists()

    def test_colours_of_sixteen_bits(self, tmp_path: Path) -> None:
        mask = np.zeros((16, 16, 3), np.uint16)
        mask[4:12, 4:12] = 200 * 257, 0, 257
        (tmp_path / "masks").mkdir()
        write_tiff(tmp_path / "masks" / "0.tif", mask, photometric=1, extra=[0, 0])
        write(tmp_path / "images" / "0.jpg", photo(0, (16, 16)))
        succeeded(run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path))
        found = [entry["color"] for entry in json.loads((tmp_path / "labels.json").read_text()).values()]
        assert found == [[0, 0, 0], [200, 0, 1]]

    def test_a_jpeg_is_refused_as_in_training(self, tmp_path: Path) -> None:
        write(tmp_path / "images" / "0.jpg", photo(0, (64, 64)))
        (tmp_path / "masks").mkdir()
        Image.fromarray(photo(1, (64, 64))).save(tmp_path / "masks" / "0.png", "JPEG")
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 1 and "it holds a JPEG" in done.stderr and "1 of 1 mask" in done.stderr

    def test_colours_with_smoothed_edges(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        mask = np.zeros((64, 64, 3), np.uint8)
        mask[:20] = 0, 0, 200
        mask[40, :, :] = rng.permutation(np.arange(192)).reshape(64, 3)
        for side in range(2, 5):
            write(tmp_path / "set" / f"{side}.jpg", photo(0, (64, 64)))
            write(tmp_path / "set" / f"{side}_mask.png", mask)
        done = scanned_beside_photos(tmp_path, "set", "_mask", tmp_path / "draft.json")
        assert "ignored" not in done.stderr
        colors = [entry["color"] for entry in json.loads((tmp_path / "draft.json").read_text()).values()]
        assert colors == [[0, 0, 0], [0, 0, 200]]
        tolerance = done.stderr.partition("data.color_tolerance=")[2].partition(" ")[0]
        options = f"data.images=set data.masks=set data.mask_suffix=_mask data.labels={tmp_path / 'draft.json'}"
        command = f"tools.check_data data=folder data.root={tmp_path} {options} data.color_tolerance={tolerance}"
        assert done.stderr.endswith(f"\npython -m {command}\n")

    def test_labels_of_outlines(self, tmp_path: Path) -> None:
        write_outlines(tmp_path, [{"label": label, "points": []} for label in ("tree", "Background", "car")])
        output = tmp_path / "own" / "labels.json"
        scanned_beside_photos(tmp_path, ".", ".json", output)
        labels = json.loads(output.read_text())
        assert [entry["class"] for entry in labels.values()] == ["background", "car", "tree"]

    def test_mistakes(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        advice = "Pass root=<what holds images/ and masks/>, or images= and masks= for other folders"
        assert_refused(done, f"there is no folder {tmp_path / 'masks'}", advice)
        assert done.stderr.endswith(f"{advice}; {tmp_path} has images/\n")
        done = run_here(scan, "scan_labels", f"root={tmp_path}", "masks=images", cwd=tmp_path)
        assert_refused(done, "error: images and masks are both", "such as mask_suffix=_mask")
        (tmp_path / "masks").mkdir()
        assert_refused(
            run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path), "there are no masks", "mask_suffix="
        )
        (tmp_path / "masks" / "a.png").write_bytes(b"no")
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 1 and "1 of 1 mask could not be read" in done.stderr
