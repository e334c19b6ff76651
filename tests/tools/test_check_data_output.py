"""What tools.check_data shows: numbers, findings, pictures and messages."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.folder import Folder
from data.statistics import inspect
from losses import class_weights
from tests.data.layouts import blocks, make_folder, photo, write
from tests.in_process import assert_refused, succeeded
from tests.tools.checked_data import check_here, drawn_panels, findings, make_camvid, tables


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
    done = succeeded(check_here("data=folder", f"data.root={root}", "splits=train", "pictures=0", cwd=tmp_path))

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
    facts = inspect(dataset, "train", len(dataset))
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
    assert (tmp_path / "o" / "findings.txt").read_text() == "no mistakes found\n"


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


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([], ["data is missing; pass data=<option>", "available: camvid, cityscapes"]),
        (["data=camvd"], ["data=camvd", "did you mean 'camvid'?"]),
        (["data=camvid", "data.root=nowhere"], ["no folder nowhere/train", "data.root="]),
        (["data=camvid", "data.root=d", "splits=[trian]"], ["no split 'trian'", "did you mean 'train'?"]),
        (["data=camvid", "data.root=d", "splits=[val,test]"], ["no folder d/test"]),
        (["data=camvid", "data.root=d", "splits=val,train"], ["splits=val,train", "splits=[val,train]"]),
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
    assert_refused(check_here("data=camvid", "data.root=d", "splits=val", f"output={output}", cwd=tmp_path), output)


@pytest.mark.parametrize("name", [b"$x_$.png", b"caf\xe9.png"])
def test_names_that_cannot_be_drawn(tmp_path: Path, name: bytes) -> None:
    root = make_camvid(tmp_path / "d")
    for folder in ("train", "trainannot"):
        (root / folder / "1.png").rename(root / folder / os.fsdecode(name))
    done = check_here("data=camvid", "data.root=d", "splits=train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-300:]
