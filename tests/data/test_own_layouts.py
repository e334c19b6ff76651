"""A user's own data as they lie: other folders and names, labels files of labelling tools, outlines, smoothed masks."""

from __future__ import annotations

import base64
import io
import json
import math
import shlex
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from data.folder import Folder
from data.label_files import read_labels
from data.layout import Layout
from tests.conftest import TINY, runs_in
from tests.data.layouts import blocks, photo, write
from tests.data.tiff_files import write_tiff
from tests.in_process import assert_refused, run_here
from tools.scan_labels import scan
from train_segmentation import train
from utils.errors import NotThere, UnknownId, Unreadable, UserError

LABELS = {"0": {"class": "field", "color": [0, 0, 0]}, "1": {"class": "road", "color": [200, 0, 0]}}


def write_labels(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.json").write_text(json.dumps(LABELS))


def png(mask: np.ndarray) -> str:
    """Return a mask as labelme keeps it."""
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def masks_of(dataset: Folder) -> list[list[list[int]]]:
    return [dataset[i].mask.tolist() for i in range(len(dataset))]


@pytest.mark.parametrize(
    ("image", "mask", "options"),
    [
        ("photos/{}.jpg", "truth/{}.png", {"images": "photos", "masks": "truth"}),
        ("{}.jpg", "{}_mask.png", {"images": ".", "masks": ".", "mask_suffix": "_mask"}),
        ("{}.png", "{}_label.png", {"images": ".", "masks": ".", "mask_suffix": "_label.png"}),
        ("set/{}.jpg", "set/{}.png", {"images": "set", "masks": "set", "mask_suffix": ".png"}),
        ("images/{}.png", "masks/{}_L.png", {"mask_suffix": "_L"}),
    ],
)
def test_other_folders_and_names(tmp_path: Path, image: str, mask: str, options: dict[str, str]) -> None:
    write_labels(tmp_path)
    for i in range(3):
        write(tmp_path / image.format(f"p{i}"), photo(i))
        write(tmp_path / mask.format(f"p{i}"), blocks(i, [0, 1]))
    dataset = Folder(str(tmp_path), "all", **options)  # type: ignore[arg-type]
    assert [dataset.name(i) for i in range(3)] == [image.format(f"p{i}") for i in range(3)] and not dataset.faults
    assert masks_of(dataset) == [blocks(i, [0, 1]).tolist() for i in range(3)]
    (tmp_path / "train.txt").write_text(f"{image.format('p1')}\n{image.format('p2')} {mask.format('p2')}\n")
    (tmp_path / "val.txt").write_text("p0\n")
    assert [Folder(str(tmp_path), s, **options).name(0) for s in ("train", "val")] == [  # type: ignore[arg-type]
        image.format("p1"), image.format("p0"),
    ]  # fmt: skip


def test_masks_in_a_folder_elsewhere(tmp_path: Path) -> None:
    write_labels(tmp_path / "set")
    for i in range(2):
        write(tmp_path / "set" / "images" / f"{i}.jpg", photo(i))
        write(tmp_path / "truth" / f"{i}.png", blocks(i, [0, 1]))
    dataset = Folder(str(tmp_path / "set"), "all", masks=str(tmp_path / "truth"))
    assert masks_of(dataset) == [blocks(i, [0, 1]).tolist() for i in range(2)]


@pytest.mark.parametrize("folders", [(".", "masks"), ("images", "images/masks"), ("masks/images", "masks")])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_folders_of_images_and_masks_in_one_another(tmp_path: Path, folders: tuple[str, str], suffix: str) -> None:
    write_labels(tmp_path)
    images, masks = folders
    for i in range(2):
        write(tmp_path / images / f"{i}{suffix}", photo(i))
        write(tmp_path / masks / f"{i}.png", blocks(i, [0, 1]))
    dataset = Folder(str(tmp_path), "all", images=images, masks=masks)
    assert not dataset.faults, str(dataset.faults[0])
    assert masks_of(dataset) == [blocks(i, [0, 1]).tolist() for i in range(2)]


def test_mistakes_in_folders(tmp_path: Path) -> None:
    write_labels(tmp_path)
    with pytest.raises(UserError, match=r"no folder .*photos\n.*<what holds photos/ and masks/>, or data\.masks="):
        Folder(str(tmp_path), "all", images="photos")
    (tmp_path / "set").mkdir()
    with pytest.raises(
        UserError, match=r"both .*set; pass how the names of masks end, such as data\.mask_suffix=_mask"
    ):
        Folder(str(tmp_path), "all", images="set", masks="set")
    with pytest.raises(UserError, match=r"data\.color_tolerance=-1"):
        Folder(str(tmp_path), "all", images="set", masks="set", mask_suffix="_m", color_tolerance=-1)


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


def test_folders_of_splits_around_those_of_images_and_masks(tmp_path: Path) -> None:
    """As `train/images/` and `train/masks/`; the photos have the same names in each split."""
    write_labels(tmp_path)
    for split, count in (("Train", 3), ("valid", 2), ("test", 1)):
        for i in range(count):
            write(tmp_path / split / "images" / f"{i}.jpg", photo(i))
            write(tmp_path / split / "masks" / f"{i}.png", blocks(i + count, [0, 1]))
    for split, folder, count in (("train", "Train", 3), ("val", "valid", 2), ("test", "test", 1)):
        dataset = Folder(str(tmp_path), split)
        assert [dataset.name(i) for i in range(len(dataset))] == [f"{folder}/images/{i}.jpg" for i in range(count)]
        assert not dataset.faults and masks_of(dataset) == [blocks(i + count, [0, 1]).tolist() for i in range(count)]
    everything = Folder(str(tmp_path), "all")
    assert len(everything) == 6 and not everything.faults
    with pytest.raises(UserError, match="there is no split 'night'"):
        Folder(str(tmp_path), "night")
    (tmp_path / "val.txt").write_text("Train/images/2.jpg Train/masks/2.png\n")
    assert Folder(str(tmp_path), "val").name(0) == "Train/images/2.jpg"


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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labelmap.txt", "car\n", r"labelmap\.txt: not a file of labels \(not enough values"),
        ("labelmap.txt", "car:1,2::\n", "three whole numbers"),
        ("_classes.csv", "Pixel Value, Class\n0, a, b\n", r"_classes\.csv: not a file of labels \(too many values"),
        ("_classes.csv", "Pixel Value, Class\n1, a\n1, b\n", "'1' occurs twice"),
        ("_classes.csv", "Pixel Value, Class\nx, a\n", "'x' is no id"),
    ],
)
def test_mistakes_in_labels_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / name)
    with pytest.raises(UserError, match=r"python -m tools\.scan_labels root=.* writes a draft"):
        read_labels(tmp_path / "labels.json")


def write_outlines(root: Path, shapes: list[dict], size: tuple[int, int] = (20, 30)) -> None:
    """Write a photo and its outlines, as labelme saves them."""
    write(root / "a.jpg", photo(0, (24, 32))[: size[0], : size[1]])
    content = {
        "version": "5.4",
        "imagePath": "a.jpg",
        "imageHeight": size[0],
        "imageWidth": size[1],
        "shapes": shapes,
    }
    (root / "a.json").write_text(json.dumps(content))


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
            done = run_here(scan, "scan_labels", *words, f"overwrite={overwrite}", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        options = {"images": ".", "masks": ".", "mask_suffix": ".json", "labels": str(tmp_path / labels)}
        dataset = Folder(str(tmp_path), "all", **options)  # type: ignore[arg-type]
        assert len(dataset) == 1 and not dataset.faults and dataset.labels.names == ("background", "road")

    def test_mistakes(self, tmp_path: Path) -> None:
        write_labels(tmp_path / "own")
        write_outlines(tmp_path, [{"label": "car", "points": [[0, 0], [9, 0], [9, 9]]}])
        with pytest.raises(UnknownId, match=r"a\.json: the label 'car' is of no class; the classes are field, road"):
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
        ],
    )
    def test_what_is_in_no_outline(self, tmp_path: Path, names: dict[str, str], background: int) -> None:
        (tmp_path / "own").mkdir()
        labels = {key: {"class": name, "color": [int(key), 0, 0]} for key, name in names.items()}
        (tmp_path / "own" / "labels.json").write_text(json.dumps(labels))
        box = [[2, 3], [12, 3], [12, 15], [2, 15]]
        write_outlines(tmp_path, [{"label": "car", "points": box}, {"label": "background", "points": box[:3]}])
        found = self.dataset(tmp_path)[0].mask
        assert set(np.unique(found)) == {background, list(names.values()).index("car")}
        assert found[0, 0] == found[4, 11] == background and found[14, 3] != background

    def test_labels_composed_and_decomposed(self, tmp_path: Path) -> None:
        labels = {"0": "background", "1": normalize("NFD", "größe")}
        (tmp_path / "own").mkdir()
        content = {key: {"class": name, "color": [int(key), 0, 0]} for key, name in labels.items()}
        (tmp_path / "own" / "labels.json").write_text(json.dumps(content))
        write_outlines(tmp_path, [{"label": normalize("NFC", "größe"), "points": [[0, 0], [9, 0], [9, 9]]}])
        assert self.dataset(tmp_path)[0].mask[1, 5] == 1


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
    advice = rf"in \d+ pixels; name it in the labels, or data\.color_tolerance={needed} takes those of this mask"
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


class TestScan:
    """The draft holds what occurs, with shares of the pixels by hand."""

    def test_ids(self, tmp_path: Path) -> None:
        for i in range(2):
            write(tmp_path / "images" / f"{i}.jpg", photo(i, (16, 16)))
            mask = np.zeros((16, 16), np.uint8)
            mask[:4], mask[4:6, :8] = 7, 255
            mask[15, 15] = 3 * i
            write(tmp_path / "masks" / f"{i}.png", mask)
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        labels = json.loads((tmp_path / "labels.json").read_text())
        assert list(labels) == ["0", "3", "7"]
        assert "25.000%" in done.stderr and f"{1 / 512:.3%}" in done.stderr
        ignored = next(line for line in done.stderr.splitlines() if "ignored" in line)
        assert [cell.strip() for cell in ignored.split("|")[1:-1]] == ["255", "ignored", "", "6.250%", "2"]
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
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
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
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
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
        done = run_here(scan, "scan_labels", f"root={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
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
        words = (
            f"root={tmp_path}",
            "images=set",
            "masks=set",
            "mask_suffix=_mask",
            f"output={tmp_path / 'draft.json'}",
        )
        done = run_here(scan, "scan_labels", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "ignored" not in done.stderr
        colors = [entry["color"] for entry in json.loads((tmp_path / "draft.json").read_text()).values()]
        assert colors == [[0, 0, 0], [0, 0, 200]]
        tolerance = done.stderr.partition("data.color_tolerance=")[2].partition(" ")[0]
        options = f"data.images=set data.masks=set data.mask_suffix=_mask data.labels={tmp_path / 'draft.json'}"
        command = f"tools.check_data data=folder data.root={tmp_path} {options} data.color_tolerance={tolerance}"
        assert done.stderr.endswith(f"\npython -m {command}\n")

    def test_labels_of_outlines(self, tmp_path: Path) -> None:
        write_outlines(tmp_path, [{"label": label, "points": []} for label in ("tree", "Background", "car")])
        words = (
            f"root={tmp_path}",
            "images=.",
            "masks=.",
            "mask_suffix=.json",
            f"output={tmp_path / 'own' / 'labels.json'}",
        )
        done = run_here(scan, "scan_labels", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        labels = json.loads((tmp_path / "own" / "labels.json").read_text())
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


@pytest.mark.parametrize(
    ("images", "masks", "advice"),
    [
        ("pics", "annotations", "Pass data.root=<what holds pics/ and annotations/>"),
        (
            "images",
            "annotations",
            "Pass data.root=<what holds images/ and annotations/>, or data.images= for another folder",
        ),
        (".", "annotations", "Pass data.root=<what holds annotations/>"),
        (
            "images",
            "masks",
            "Pass data.root=<what holds images/ and masks/>, or data.images= and data.masks= for other folders",
        ),
    ],
)
def test_folders_that_are_missing(tmp_path: Path, images: str, masks: str, advice: str) -> None:
    with pytest.raises(NotThere) as moved:
        Layout(tmp_path / "moved", images, masks).check()
    assert str(moved.value).splitlines()[1] == advice
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    with pytest.raises(NotThere) as others:
        Layout(tmp_path, images, masks).check()
    assert str(others.value).splitlines()[1] == f"{advice}; {tmp_path} has a/, b/"


def test_what_infer_wrote_beside_photos_is_no_photo(tmp_path: Path) -> None:
    write_labels(tmp_path)
    for name in ("1", "2", "night_overlay"):  # the last is a photo: it has a mask
        write(tmp_path / "pics" / f"{name}.jpg", photo(0, (16, 16)))
        write(tmp_path / "truth" / f"{name}_gt.png", np.zeros((16, 16), np.uint8))
    write(tmp_path / "pics" / "night.jpg", photo(0, (16, 16)))
    write(tmp_path / "truth" / "night.png", np.zeros((16, 16), np.uint8))
    for kind in ("mask", "overlay", "side_by_side", "uncertainty"):
        write(tmp_path / "pics" / f"1_{kind}.png", photo(1, (16, 16)))
    dataset = Folder(str(tmp_path), "all", images="pics", masks="truth")
    names = [dataset.name(i) for i in range(len(dataset))]
    assert names == ["pics/1.jpg", "pics/2.jpg", "pics/night.jpg", "pics/night_overlay.jpg"] and not dataset.faults


def test_a_run_on_masks_beside_images(tmp_path: Path) -> None:
    write_labels(tmp_path / "set")
    for i in range(6):
        write(tmp_path / "set" / f"{i}.jpg", photo(i))
        write(tmp_path / "set" / f"{i}_mask.png", blocks(i, [0, 1]))
    words = ["data=folder", f"data.root={tmp_path / 'set'}", "data.images=.", "data.masks=.", "data.mask_suffix=_mask"]
    tiny = [word for word in TINY if "image_size" not in word]
    words += ["data.image_size=32", "trainer.epochs=1", "name=it's (1)"]
    done = run_here(train, "train", *words, *tiny, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(tmp_path)
    assert "image_size:\n  - 32\n  - 32\n" in (run / "config.yaml").read_text()
    (command,) = [line for line in done.stderr.splitlines() if "python infer.py" in line]
    assert f"checkpoint={run.relative_to(tmp_path)}" in shlex.split(command)
