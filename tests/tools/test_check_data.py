"""The walk through a data set, on small sets that are whole and on ones with planted faults."""

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

from data.folder import Folder
from data.inspection import inspect, summarise
from losses import class_weights
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
from tests.in_process import assert_refused, run_here
from tools.check_data import check

Make = Callable[[Path], Path]
FINDING = re.compile(r"(missing pair|unreadable|size|unknown id|leak|empty|labels): (.*)")


def check_here(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(check, "check_data", *words, cwd=cwd)


def findings(output: Path) -> dict[str, list[str]]:
    """Kind -> lines of findings.txt."""
    found: dict[str, list[str]] = {}
    for line in (output / "findings.txt").read_text().splitlines():
        match = FINDING.fullmatch(line)
        assert match, line
        found.setdefault(match[1], []).append(match[2])
    return found


def tables(done: subprocess.CompletedProcess) -> dict[str, dict[str, list[str]]]:
    """Split -> class -> cells of its row, as printed."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in done.stderr.splitlines():
        title = re.search(r"\+(\w+), \d+ samples", line)
        if title:
            rows = found.setdefault(title[1], {})
        if line.startswith("| "):
            name, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            rows[name] = cells
    return found


def make_camvid(root: Path, count: int = 3) -> Path:
    for first, split in ((0, "train"), (100, "val")):
        for i in range(count):
            write(root / split / f"{i}.png", photo(first + i))
            write(root / f"{split}annot" / f"{i}.png", blocks(i, list(range(12))))
    return root


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
    done = check_here(f"data={option}", *words, "pictures=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
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
        done = check_here(*words, splits, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert list(tables(done)) == ["val"] and done.stderr.endswith("\nfound no mistakes in val (4)\n")
    assert check_here(*words, "splits=[train]", "output=o", cwd=tmp_path).returncode == 1
    assert findings(tmp_path / "o").keys() == FAULTS.keys() - {"leak"}


@pytest.fixture(scope="module")
def refused_training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """The root of the faulty data, and what a training on them says."""
    folder = tmp_path_factory.mktemp("training")
    root = make_faulty(folder / "it's my data")
    words = ["data=folder", f"data.root={root}", "data.image_size=[32,32]"]
    done = run_command("train_segmentation.py", *words, cwd=folder)
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
    done = check_here("data=folder", f"data.root={root}", "splits=[train]", "pictures=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "classes that do not occur in 'train': dog; 255 (or white) occurs in 4 masks and is ignored" in done.stderr
    assert "images without a labelled pixel: 1, such as images/photo 3.jpg\n" in done.stderr
    write(root / "masks" / "photo 4.png", np.full(SIZE, 255, np.uint8))
    (root / "val.txt").write_text("photo 4\n")
    words = ["data=folder", f"data.root={root}", "splits=[val]", "pictures=1"]
    done = check_here(*words, "data.val_split=train", cwd=tmp_path)
    assert done.returncode == 0 and "val: 1 samples, none with a labelled pixel\n" in done.stderr, done.stderr
    assert check_here(*words, "output=o", cwd=tmp_path).returncode == 1  # nothing could be measured on it
    (line,) = findings(tmp_path / "o")["labels"]
    assert "'val' has no labelled pixel: nothing but 255, which is ignored, in 1 mask" in line


def test_leaks_of_voc(tmp_path: Path) -> None:
    """The splits share photos, as they should; none of val's may be trained on."""
    root = make_voc(tmp_path / "d")
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    words = ["data=voc", f"data.root={root}", "pictures=0", "output=o"]
    done = check_here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
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


def test_numbers_agree_with_numpy(tmp_path: Path) -> None:
    root = tmp_path / "d"
    make_folder(root, count=4)
    (root / "train.txt").write_text("".join(f"photo {i}\n" for i in range(4)))
    ids = [[0, 1, 7, 255], [0, 1, 255], [0, 0, 0, 7], [0, 0, 1]]
    images, masks = [], []
    for i in range(4):
        (root / "images" / f"photo {i}.jpg").unlink()
        size = 64 + 8 * i, 96 - 8 * i
        images.append(photo(i, size))
        masks.append(blocks(i, ids[i], size))
        write(root / "images" / f"photo {i}.png", images[i])
        write(root / "masks" / f"photo {i}.png", masks[i])
    done = check_here("data=folder", f"data.root={root}", "splits=train", "pictures=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    counts = np.array([[(mask == raw).sum() for raw in (0, 1, 7)] for mask in masks])
    total = sum(mask.size for mask in masks)
    assert class_weights.enet(counts) != class_weights.median_frequency(counts)
    rows = tables(done)["train"]
    for i, name in enumerate(("background", "cat", "dog")):
        share, weights = counts[:, i].sum() / total, (class_weights.enet, class_weights.median_frequency)
        expected = [str((counts[:, i] > 0).sum()), f"{share:.3%}", *(f"{weight(counts)[i]:.3f}" for weight in weights)]
        assert rows[name] == expected
    assert rows["(ignored)"][:2] == ["2", f"{sum((mask == 255).sum() for mask in masks) / total:.3%}"]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (pixels.mean(0), pixels.std(0)))
    assert f"mean of red, green, blue: {mean}; standard deviation: {std}\n" in done.stderr

    dataset = Folder(str(root), "train")
    facts = summarise(list(inspect(dataset, len(dataset))), list(dataset.faults))
    np.testing.assert_array_equal(facts.pixels[:, :3], counts)
    np.testing.assert_allclose((facts.mean, facts.std), (pixels.mean(0), pixels.std(0)))


def test_the_file_has_all_findings_and_the_console_the_first(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d", count=25)
    (root / "train.txt").write_text("".join(f"photo {i}\n" for i in range(25)))
    for i in range(25):
        write(root / "masks" / f"photo {i}.png", blocks(i, [0, 3]))
    done = check_here("data=folder", f"data.root={root}", "splits=train", "output=o", cwd=tmp_path)
    assert done.returncode == 1
    (lines,) = findings(tmp_path / "o").values()
    assert sorted(int(re.findall(r"photo (\d+)", line)[0]) for line in lines) == list(range(25))
    shown = [line for line in done.stderr.splitlines() if line.startswith("  ") and line.strip()]
    assert [line.strip() for line in shown[:-1]] == lines[:20]
    assert shown[-1] == f"  ... and 5 more in {Path('o', 'findings.txt')}"
    assert "unknown id: 25\n" in done.stderr
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["findings.txt"]  # nothing to draw
    # Afterwards, the file tells of the last look alone.
    shutil.rmtree(root)
    make_folder(root)
    assert check_here("data=folder", f"data.root={root}", "pictures=0", "output=o", cwd=tmp_path).returncode == 0
    assert (tmp_path / "o" / "findings.txt").read_text() == ""


def test_the_contact_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_camvid(tmp_path / "d", count=8)
    (root / "train" / "7.png").write_bytes(b"")
    panels = drawn_panels(monkeypatch)
    done = check_here("data=camvid", f"data.root={root}", "pictures=4", "splits=[train]", cwd=tmp_path)
    assert done.returncode == 1 and "wrote outputs/check_data/camvid/train.png\n" in done.stderr
    assert [name for name, _, _ in panels] == ["train/0.png", "train/2.png", "train/5.png"]
    np.testing.assert_array_equal(panels[1][1], photo(2))
    raw = blocks(2, list(range(12)))
    np.testing.assert_array_equal(panels[1][2], np.where(raw == 11, 255, raw))
    with Image.open(tmp_path / "outputs" / "check_data" / "camvid" / "train.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert min(pixels.shape[:2]) > 200
    assert (pixels != 255).any(2).mean() > 0.2 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def drawn_panels(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The panels of the sheets that are drawn from now on."""
    from visualization import figures

    seen: list[tuple[str, np.ndarray, np.ndarray]] = []
    draw = figures.draw_sheet

    def spy(panels: list, *rest: object, **more: object) -> None:
        seen.extend(panels)
        draw(panels, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(figures, "draw_sheet", spy)
    return seen


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([], ["data is missing; pass data=<option>", "available: camvid, cityscapes"]),
        (["data=camvd"], ["data=camvd", "did you mean 'camvid'?"]),
        (["data=camvid", "data.root=nowhere"], ["no folder nowhere/train", "data.root="]),
        (["data=camvid", "data.root=d", "splits=[trian]"], ["no split 'trian'", "did you mean 'train'?"]),
        (["data=camvid", "data.root=d", "splits=[val,test]"], ["no folder d/test"]),
        (["data=camvid", "data.root=d", "splits=val,train"], ["splits=val,train", "key=[a,b]"]),
        (["data=camvid", "data.root=d", "splits=[]"], ["splits=[]", "at least 1 value"]),
        (["data=camvid", "data.root=d", "split=val"], ["split: unknown key", "did you mean 'splits'?"]),
        (["data=camvid", "data.root=d", "pictures=-1"], ["pictures=-1", "at least 0"]),
        (["data=camvid", "data.rot=d"], ["data.rot", "did you mean 'data.root'?"]),
        (["data=camvid", "data.root=d", "data.limit=0"], ["data.limit=0", "at least 1"]),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    make_camvid(tmp_path / "d", count=1)
    assert_refused(check_here(*words, cwd=tmp_path), *fragments)
    assert not (tmp_path / "outputs").exists()


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


def test_no_sample_to_draw(tmp_path: Path) -> None:
    root = make_camvid(tmp_path / "d")
    (root / "train" / "0.png").write_bytes(b"")
    done = check_here("data=camvid", f"data.root={root}", "pictures=1", "output=o", cwd=tmp_path)
    assert done.returncode == 1
    assert findings(tmp_path / "o") == {"unreadable": [f"{root}/train/0.png: the file is empty (0 bytes)"]}


def test_pictures_are_of_the_samples_that_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = drawn_panels(monkeypatch)
    root = make_camvid(tmp_path / "d")
    check_here("data=camvid", f"data.root={root}", "data.limit=1", "splits=val", cwd=tmp_path)
    assert [name for name, _, _ in panels] == ["val/0.png"]


@pytest.mark.parametrize("output", ["d/train/0.png", "/proc/nowhere"])
def test_an_output_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    make_camvid(tmp_path / "d", count=1)
    done = check_here("data=camvid", "data.root=d", "splits=val", f"output={output}", cwd=tmp_path)
    assert_refused(done, output)


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
        (
            "coco",
            make_coco,
            damaged_annotations,
            "unreadable",
            "val2017.json: the annotations cannot be read",
        ),
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


@pytest.mark.parametrize("name", [b"$x_$.png", b"caf\xe9.png"])
def test_names_that_cannot_be_drawn(tmp_path: Path, name: bytes) -> None:
    root = make_camvid(tmp_path / "d")
    for folder in ("train", "trainannot"):
        (root / folder / "1.png").rename(root / folder / os.fsdecode(name))
    done = check_here("data=camvid", "data.root=d", "splits=train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-300:]


def test_findings_about_a_name_of_another_encoding(tmp_path: Path) -> None:
    root = make_camvid(tmp_path / "d")
    (root / "train" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    done = check_here("data=camvid", "data.root=d", "splits=train", "pictures=0", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
