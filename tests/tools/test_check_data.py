"""What tools.check_data finds in data sets that are whole, and in ones with planted faults."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import quiet
from tests.conftest import ROOT, run_command, runs_in
from tests.data.layouts import (
    SIZE,
    blocks,
    make_cityscapes,
    make_cityscapes_pairs,
    make_coco,
    make_folder,
    make_voc,
    photo,
    write,
)
from tests.in_process import assert_refused, run_here, succeeded
from tests.tools.checked_data import Make, check_here, findings, make_camvid, tables
from train_segmentation import train


def apart(make: Make, pattern: str) -> Make:
    """A layout whose photos for validation are others than those for training."""

    def made(root: Path) -> Path:
        make(root)
        for i, path in enumerate(sorted(root.glob(pattern))):
            pixels = np.array(Image.open(path))
            height = pixels.shape[0]
            width = height if make is make_cityscapes_pairs else pixels.shape[1]  # whose right half is the mask
            pixels[:, :width] = photo(100 + i, (height, width))
            Image.fromarray(pixels).save(path, quality=95)
        return root

    return made


@pytest.mark.skipif(quiet._found is None, reason="what libjpeg prints can be read with glibc only")
def test_photos_that_lost_bytes_are_named(tmp_path: Path) -> None:
    """Decoders fill what they cannot decode, and only print a line about it."""
    path = make_folder(tmp_path / "set") / "images" / "photo 3.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)
    encoded, words = path.read_bytes(), ("data=folder", "data.root=set", "splits=all", "pictures=1")
    assert "damaged" not in check_here(*words, cwd=tmp_path).stderr
    path.write_bytes(encoded[:3000] + encoded[3512:])
    warning = (
        "photos of 'all' that are damaged, and may be grey or shifted in parts: set/images/photo 3.jpg; look at them"
    )
    assert warning in check_here(*words, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("option", "make", "words", "counts"),
    [
        ("camvid", make_camvid, [], "train (3), val (3), trainval (6)"),
        ("voc", make_voc, [], "train (4), val (2), train_aug (6)"),
        ("cityscapes", apart(make_cityscapes, "leftImg8bit/val/*/*"), [], "train (4), val (2)"),
        ("cityscapes", apart(make_cityscapes, "leftImg8bit/val/*/*"), ["data.classes=20"], "train (4), val (2)"),
        ("cityscapes_pairs", apart(make_cityscapes_pairs, "val/*"), [], "train (4), val (4)"),
        ("coco", apart(make_coco, "val2017/*"), [], "train (3), val (3)"),
        ("coco", apart(make_coco, "val2017/*"), ["data.classes=21"], "train (1), val (1)"),
        ("folder", make_folder, [], "train (8), val (2)"),
        ("synthetic", None, ["data.train_length=3", "data.val_length=2"], "train (3), val (2)"),
    ],
)
def test_nothing_is_wrong(tmp_path: Path, option: str, make: Make | None, words: list[str], counts: str) -> None:
    if make is not None:
        words = [*words, f"data.root={make(tmp_path / 'a root')}"]
    done = succeeded(check_here(f"data={option}", *words, "pictures=0", cwd=tmp_path))
    assert done.stderr.splitlines()[-1] == f"found no mistakes in {counts}"
    assert list(tables(done)) == re.findall(r"\w+(?= \()", counts)
    output = tmp_path / "outputs" / "check_data" / option
    assert [path.name for path in output.iterdir()] == ["findings.txt"]
    assert findings(output) == {}


def make_faulty(root: Path) -> Path:
    """A folder of 20 photos, of which train lists 16 and val 4; the faults are all in train, one of every kind."""
    make_folder(root, count=20)
    images, masks = root / "images", root / "masks"
    stems = [f"photo {i}" for i in range(20)]
    (masks / "photo 1.png").unlink()
    (images / "photo 2.jpg").unlink()
    write(images / "photo 3.bmp", photo(3))
    write(masks / "photo 4.tif", blocks(4, [0, 1]))
    (images / "photo 5.jpg").write_bytes(b"")
    (images / "photo 6.jpg").write_bytes((images / "photo 6.jpg").read_bytes()[:-400])
    (masks / "photo 7.png").write_text("not a picture")
    (masks / "photo 8.png").write_bytes(b"")
    (masks / "photo 9.png").write_bytes((masks / "photo 9.png").read_bytes()[:60])
    write(masks / "photo 10.png", blocks(10, [0, 1], (SIZE[0], SIZE[1] - 8)))
    write(masks / "photo 11.png", blocks(11, [0, 1, 2, 9]))
    colors = np.array([(0, 0, 0), (200, 0, 0), (200, 0, 1)], np.uint8)
    write(masks / "photo 12.png", colors[blocks(12, [0, 1, 2])])
    for folder, suffix in ((images, "jpg"), (masks, "png")):
        shutil.copy(folder / f"photo 17.{suffix}", folder / f"holiday.{suffix}")
    (root / "train.txt").write_text("\n".join([*stems[:16], "holiday", "photo 99"]) + "\n")
    (root / "val.txt").write_text("\n".join(stems[16:]) + "\n")
    return root


FAULTS = {  # kind -> files that its findings name, in their order
    "missing pair": [["photo 99"], ["images/photo 1.jpg: "], ["masks/photo 2.png: "],
                     ["images/photo 3.bmp", "images/photo 3.jpg"], ["masks/photo 4.png", "masks/photo 4.tif"]],
    "unreadable": [["masks/photo 7.png"], ["masks/photo 8.png"], ["masks/photo 9.png"], ["images/photo 5.jpg"],
                   ["images/photo 6.jpg"]],
    "size": [["images/photo 10.jpg", "96x64", "masks/photo 10.png", "88x64"]],
    "unknown id": [["masks/photo 11.png", ": 2, 9"], ["masks/photo 12.png", "(200, 0, 1)"]],
    "leak": [["images/holiday.jpg of train", "images/photo 17.jpg of val"]],
}  # fmt: skip


def assert_all_faults(output: Path, console: str) -> None:
    found = findings(output)
    assert {kind: len(lines) for kind, lines in found.items()} == {k: len(v) for k, v in FAULTS.items()}, found
    for kind, wanted in FAULTS.items():
        for fragments in wanted:
            lines = [line for line in found[kind] if all(fragment in line for fragment in fragments)]
            assert len(lines) == 1, (fragments, found[kind])
            assert f"\n  {lines[0]}" in console
        assert f"{kind}: {len(wanted)}\n" in console


def test_every_planted_fault_is_found_and_nothing_else(tmp_path: Path) -> None:
    root = make_faulty(tmp_path / "my data")
    words = ("data=folder", f"data.root={root}", f"output={tmp_path / 'o'}")
    done = run_command("-m", "tools.check_data", *words, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert_all_faults(tmp_path / "o", done.stderr)
    assert done.stderr.count("\nerror: ") == 1
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"findings.txt", "train.png", "val.png"}


def test_only_the_splits_asked_for_are_walked(tmp_path: Path) -> None:
    words = ["data=folder", f"data.root={make_faulty(tmp_path / 'd')}", "pictures=0"]
    for splits in ("splits=[val]", "splits=val"):
        done = succeeded(check_here(*words, splits, cwd=tmp_path))
        assert list(tables(done)) == ["val"] and done.stderr.endswith("\nfound no mistakes in val (4)\n")
    assert check_here(*words, "splits=[train]", "output=o", cwd=tmp_path).returncode == 1
    assert findings(tmp_path / "o").keys() == FAULTS.keys() - {"leak"}


@pytest.fixture(scope="module")
def refused_training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """The root of the faulty data, and what a training on them says."""
    folder = tmp_path_factory.mktemp("training")
    root = make_faulty(folder / "it's my data")
    words = ["data=folder", f"data.root={root}", "data.image_size=[32,32]"]
    done = run_here(train, "train", *words, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert runs_in(folder) == []
    return root, done


def hint(done: subprocess.CompletedProcess) -> str:
    return done.stderr.splitlines()[-1].removeprefix("find all mistakes in the data: ")


def test_a_training_on_faulty_data_says_how_to_find_all_faults(
    refused_training: tuple[Path, subprocess.CompletedProcess],
) -> None:
    _, done = refused_training
    assert_refused(done, "train.txt lists photo 99, but there is no such file")
    assert hint(done).startswith("python -m tools.check_data data=folder ")
    assert "my data" in hint(done)


def test_the_command_that_it_says_works(
    tmp_path: Path, refused_training: tuple[Path, subprocess.CompletedProcess]
) -> None:
    root, done = refused_training
    words = shlex.split(hint(done))
    assert words[:4] == ["python", "-m", "tools.check_data", "data=folder"]
    assert f"data.root={root}" in words
    again = check_here(*words[3:], "pictures=0", cwd=tmp_path)
    assert again.returncode == 1
    assert_all_faults(tmp_path / "outputs" / "check_data" / "folder", again.stderr)


def test_absent_classes_and_images_without_labels_are_no_faults(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d", count=5)
    for i in range(5):
        write(root / "masks" / f"photo {i}.png", blocks(i, [0, 1, 255] if i != 3 else [255]))
    (root / "train.txt").write_text("".join(f"photo {i}\n" for i in range(4)))
    done = succeeded(check_here("data=folder", f"data.root={root}", "splits=[train]", "pictures=0", cwd=tmp_path))
    assert "classes that do not occur in 'train': dog; 255 (or white) occurs in 4 masks and is ignored" in done.stderr
    assert "images without a labelled pixel: 1, such as images/photo 3.jpg\n" in done.stderr
    write(root / "masks" / "photo 4.png", np.full(SIZE, 255, np.uint8))
    (root / "val.txt").write_text("photo 4\n")
    words = ["data=folder", f"data.root={root}", "splits=[val]", "pictures=1"]
    done = check_here(*words, "data.val_split=train", cwd=tmp_path)
    assert done.returncode == 0 and "val: 1 sample, none with a labelled pixel\n" in done.stderr, done.stderr
    assert check_here(*words, "output=o", cwd=tmp_path).returncode == 1  # nothing could be measured on it
    (line,) = findings(tmp_path / "o")["labels"]
    assert "'val' has no labelled pixel: nothing but 255, which is ignored, in 1 mask" in line


def test_leaks_of_voc(tmp_path: Path) -> None:
    """The splits share photos, as they should; none of val's may be trained on."""
    root = make_voc(tmp_path / "d")
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    words = ["data=voc", f"data.root={root}", "pictures=0", "output=o"]
    done = succeeded(check_here(*words, cwd=tmp_path))
    assert done.stderr.endswith("found no mistakes in train (4), val (2), train_aug (6), trainval (6)\n")
    with (lists / "train_aug.txt").open("a") as file:
        file.write("2007_000005\n")
    assert check_here(*words, cwd=tmp_path).returncode == 1
    name = "JPEGImages/2007_000005.jpg"
    assert findings(tmp_path / "o") == {"leak": [f"{name} of val is the same photo as {name} of train_aug"]}
    with (lists / "train.txt").open("a") as file:
        file.write("2007_000005\n")
    assert check_here(*words, "splits=[train,val]", cwd=tmp_path).returncode == 1
    assert findings(tmp_path / "o") == {"leak": [f"{name} of train is the same photo as {name} of val"]}


@pytest.mark.parametrize("key", ["height", "file_name"])
def test_annotations_without_a_key(tmp_path: Path, key: str) -> None:
    path = make_coco(tmp_path / "d") / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    del content["images"][0][key]
    path.write_text(json.dumps(content))
    done = check_here("data=coco", "data.root=d", "pictures=0", "output=o", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = findings(tmp_path / "o")["unreadable"]
    assert path.name in line and key in line


def empty_split(root: Path) -> None:
    for path in [*(root / "val").iterdir(), *(root / "valannot").iterdir()]:
        path.unlink()


def empty_list(root: Path) -> None:
    (root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")


def damaged_annotations(root: Path) -> None:
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:-50])


@pytest.mark.parametrize(
    ("option", "make", "damage", "kind", "words"),
    [
        ("camvid", make_camvid, empty_split, "empty", "the split 'val' is empty"),
        ("voc", make_voc, empty_list, "unreadable", "val.txt: the list of the split is empty"),
        ("coco", make_coco, damaged_annotations, "unreadable", "val2017.json: line 1: not valid JSON"),
    ],
)
def test_what_a_training_would_refuse_is_wrong(
    tmp_path: Path, option: str, make: Make, damage: Callable[[Path], None], kind: str, words: str
) -> None:
    damage(make(tmp_path / "d"))
    done = check_here(f"data={option}", "data.root=d", "pictures=0", "output=o", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    found = findings(tmp_path / "o")
    assert found.keys() == {kind} and words in found[kind][0]


def test_a_split_alone(tmp_path: Path) -> None:
    root = make_camvid(tmp_path / "d")
    for folder in ("train", "trainannot"):
        shutil.rmtree(root / folder)
    done = check_here("data=camvid", "data.root=d", "pictures=0", cwd=tmp_path)
    assert done.returncode == 0 and "found no mistakes in val" in done.stderr and "train: skipped" in done.stderr


def huge_bitmap(path: Path) -> None:
    """As few flipped bits in the header make of one."""
    content = bytearray(path.with_suffix(".bmp").read_bytes())
    content[18:26] = (200_000).to_bytes(4, "little") * 2
    path.with_suffix(".bmp").write_bytes(content)


@pytest.mark.parametrize("which", ["image of BMP", "mask of BMP", "mask of CMYK"])
def test_files_that_libraries_choke_on(tmp_path: Path, which: str) -> None:
    root = make_camvid(tmp_path / "d")
    path = root / ("train" if which.startswith("image") else "trainannot") / "1.png"
    picture = Image.open(path)
    picture.load()
    path.unlink()
    if which == "mask of CMYK":
        path = path.with_suffix(".tif")
        Image.new("CMYK", picture.size).save(path)
    else:
        path = path.with_suffix(".bmp")
        picture.save(path)
        huge_bitmap(path)
    done = check_here("data=camvid", "data.root=d", "pictures=0", "output=o", cwd=tmp_path)
    assert done.returncode == 1
    (lines,) = findings(tmp_path / "o").values()
    assert len(lines) == 1 and path.name in lines[0]


def test_findings_about_a_name_of_another_encoding(tmp_path: Path) -> None:
    root = make_camvid(tmp_path / "d")
    (root / "train" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    done = check_here("data=camvid", "data.root=d", "splits=train", "pictures=0", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_what_is_wrong_with_all_splits_is_said_once(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data")
    done = check_here("data=folder", f"data.root={root}", "data.images=", "data.masks=.", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("data.mask_suffix") == 1
    assert f"train, val, test: data.images and data.masks are both {root}" in done.stderr


def test_one_folder_of_images_and_masks_is_named_once(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data")
    words = ("data.images=.", "data.masks=.", "data.mask_suffix=_m", "splits=[test]")
    assert_refused(
        check_here("data=folder", f"data.root={root}", *words, cwd=tmp_path), "neither test.txt nor test/; the split"
    )
