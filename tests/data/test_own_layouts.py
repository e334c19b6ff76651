"""A user's own data as they lie: other folders and names."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from data.folder import Folder
from data.layout import Layout
from tests.conftest import TINY, runs_in
from tests.data.layouts import blocks, masks_of, photo, write, write_labels
from tests.in_process import run_here, succeeded
from train_segmentation import train
from utils.errors import NotThere, UserError


@pytest.mark.parametrize(
    ("image", "mask", "options"),
    [
        ("photos/{}.jpg", "truth/{}.png", {"images": "photos", "masks": "truth"}),
        ("{}.jpg", "{}_mask.png", {"images": ".", "masks": ".", "mask_suffix": "_mask"}),
        ("{}.png", "{}_label.png", {"images": ".", "masks": ".", "mask_suffix": "_label.png"}),
        ("set/{}.jpg", "set/{}.png", {"images": "set", "masks": "set", "mask_suffix": ".png"}),
        ("images/{}.png", "masks/{}_L.png", {"mask_suffix": "_L"}),
        ("images/{}.jpg", "masks/{}.jpg.png", {"mask_suffix": ".jpg.png"}),
        ("set/{}.jpg", "set/{}.jpg.png", {"images": "set", "masks": "set", "mask_suffix": ".jpg.png"}),
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
    done = succeeded(run_here(train, "train", *words, *tiny, cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    assert "image_size:\n  - 32\n  - 32\n" in (run / "config.yaml").read_text()
    (command,) = [line for line in done.stderr.splitlines() if "python infer.py" in line]
    assert f"checkpoint={run.relative_to(tmp_path)}" in shlex.split(command)


def test_a_missing_split_for_validation_names_folds(tmp_path: Path) -> None:
    make_folders(tmp_path, "train", "test")
    with pytest.raises(UserError, match=r"no split 'val' .*\n.* a part of 'train', pass data\.folds=5 data\.fold=0$"):
        Folder(str(tmp_path), "val")
    with pytest.raises(UserError, match=r"no split 'night' .* the split 'all' is every photo$"):
        Folder(str(tmp_path), "night")


def test_folders_that_are_not_taken_for_splits_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    make_folders(tmp_path, "trn", "vld")
    dataset = [Folder(str(tmp_path), split) for split in ("train", "val")]
    assert sum(map(len, dataset)) == 4
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'images'}: the photos of trn/, vld/ are divided by their names")
    assert message.endswith("pass for example data.train_split=trn data.val_split=vld")
    assert [len(Folder(str(tmp_path), split)) for split in ("trn", "vld")] == [2, 2]
    assert len(caplog.messages) == 1


def make_folders(root: Path, *names: str) -> None:
    """Two photos and masks in a folder of each name in `images/` and `masks/`."""
    write_labels(root)
    for name in names:
        for i in range(2):
            write(root / "images" / name / f"{i}.png", photo(i))
            write(root / "masks" / name / f"{i}.png", blocks(i, [0, 1]))
