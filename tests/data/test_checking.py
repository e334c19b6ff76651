"""What is refused before a training because its labels cannot be right; the masks are made by hand."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from data import checking
from data.checking import check_contents, checked_samples, class_fault, class_warnings
from data.folder import Folder
from data.samples import Sample
from data.voc import LABELS
from tests.conftest import runs_in
from tests.data.layouts import photo, write
from tests.in_process import assert_refused, run_here
from tools.check_data import check
from train_segmentation import train
from utils.errors import UserError

SIZE = (32, 32)
CLASSES = {"0": ("road", [0, 0, 0]), "1": ("car", [200, 0, 0]), "2": ("tree", [0, 200, 0])}


def make(root: Path, train_ids: list[list[int]], val_ids: list[list[int]], classes: int = 2) -> Path:
    """A folder of masks, each with equal parts of its ids; `train.txt` and `val.txt` list them."""
    labels = {key: {"class": name, "color": color} for key, (name, color) in list(CLASSES.items())[:classes]}
    root.mkdir()
    (root / "labels.json").write_text(json.dumps(labels))
    for split, masks in (("train", train_ids), ("val", val_ids)):
        (root / f"{split}.txt").write_text("".join(f"{split}{i}\n" for i in range(len(masks))))
        for i, ids in enumerate(masks):
            write(root / "images" / f"{split}{i}.png", photo(i + 100 * (split == "val"), SIZE))
            write(root / "masks" / f"{split}{i}.png", np.resize(np.array(ids, np.uint8), SIZE))
    return root


def look(root: Path, split: str, single: bool = False) -> None:
    checked_samples(Folder(str(root), split), split, SIZE, masks=split == "train", allow_single_class=single)


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    root = make(tmp_path / "d", [[0, 255], [0, 0], [0, 255]], [[0, 1]])
    with pytest.raises(UserError) as error:
        look(root, "train")
    message = str(error.value)
    assert "'train' has only one class: all labelled pixels of 3 masks are 'road'; 255" in message
    assert f"255 (or white) occurs in 2 masks and is ignored: name it in {root / 'labels.json'}" in message
    assert "data.allow_single_class=true" in message
    look(root, "train", single=True)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_labelled_pixel(tmp_path: Path, split: str) -> None:
    masks = {"train": [[0, 1]], "val": [[0, 1]], split: [[255], [255]]}
    root = make(tmp_path / "d", masks["train"], masks["val"])
    with pytest.raises(
        UserError, match=f"'{split}' has no labelled pixel: nothing but 255, which is ignored, in 2 masks"
    ):
        look(root, split)
    with pytest.raises(UserError, match="no labelled pixel"):
        look(root, split, single=True)


def test_one_class_is_enough_to_validate(tmp_path: Path) -> None:
    look(make(tmp_path / "d", [[0, 1]], [[1]]), "val")


def test_classes_that_do_not_occur_are_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "d", [[0, 1], [1]], [[0, 255]], classes=3)
    with caplog.at_level(logging.WARNING):
        look(root, "train")
    assert [record.getMessage() for record in caplog.records] == ["classes that do not occur in 'train': tree"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        look(root, "val")
    assert [record.getMessage() for record in caplog.records] == [
        "classes that do not occur in 'val': car, tree; 255 (or white) occurs in 1 mask and is ignored:"
        f" name it in {root / 'labels.json'} if it is a class"
    ]


def test_masks_of_0_and_1_among_others_of_0_and_255(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "d", [[0, 1], [0, 255], [0, 1], [0], [0, 255], [0, 255]], [[0, 1], [0, 1, 255], [0, 255]])
    look(root, "train")
    assert [record.getMessage() for record in caplog.records] == [
        "'car' is in 2 masks of 'train', and 255 (or white), which is ignored, only in 3 others: if it means the same"
        f" there, save all masks with the same ids or colours as in {root / 'labels.json'}"
    ]
    caplog.clear()
    look(root, "val")  # where 255 is beside a car
    assert not caplog.records
    done = run_here(check, "check_data", "data=folder", f"data.root={root}", "pictures=0", "output=o", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count("'car' is in 2 masks of 'train', and 255") == 1


def test_the_padding_is_not_taken_for_a_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "d", [[0, 1], [0]], [[0, 1]], classes=3)
    checked_samples(Folder(str(root), "train"), "train", (32, 64), masks=True, fit="pad")
    assert [record.getMessage() for record in caplog.records] == ["classes that do not occur in 'train': tree"]


def test_all_classes_are_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "d", [[0, 1, 255]], [[0, 1]])
    look(root, "train")
    assert not caplog.records


def test_many_absent_classes_stay_one_line() -> None:
    pixels = np.zeros((4, 256), np.int64)
    pixels[:, [0, 3]] = 5
    assert class_warnings(pixels, 5000, LABELS, "train") == [
        "classes that do not occur in 4 of the 5000 samples of 'train': aeroplane, bicycle, boat, bottle, bus, car,"
        " cat, chair and 11 more"
    ]
    assert class_fault(pixels, LABELS, "train") is None


def test_large_sets_are_read_until_two_classes_are_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the 14th of 40 masks has the second class; six are looked at first, then six at a time."""
    monkeypatch.setattr(checking, "FULL_CHECK_BELOW", 40)
    monkeypatch.setattr(checking, "SPOT_CHECKS", 6)
    root = make(tmp_path / "d", [[0, 1] if i == 13 else [0] for i in range(40)], [[0, 1]])
    read: list[int] = []

    class Counted(Folder):
        def __getitem__(self, index: int) -> Sample:
            read.append(index)
            return super().__getitem__(index)

    names = [Path(Counted(str(root), "train").name(i)).stem for i in range(40)]
    second = names.index("train13")
    counts = check_contents(Counted(str(root), "train"), "train", classes=2)
    assert counts is not None and counts[:, 1].sum() == SIZE[0] * SIZE[1] // 2
    assert sorted(read[:6]) == [0, 8, 16, 23, 31, 39] and second not in read[:6]
    assert sorted(read[6:]) == list(range((second // 6 + 1) * 6))
    read.clear()
    check_contents(Counted(str(root), "train"), "train", classes=1)
    assert len(read) == 6


def test_a_training_is_refused_before_it_begins(tmp_path: Path) -> None:
    root = make(tmp_path / "d", [[0, 255]] * 2, [[0, 255]])
    words = ["data=folder", f"data.root={root}", "data.image_size=[32,32]", "logger=none"]
    assert_refused(
        run_here(train, "train", *words, cwd=tmp_path), "only one class", "pass data.allow_single_class=true"
    )
    assert runs_in(tmp_path) == []


def test_the_look_at_a_data_set_finds_the_same(tmp_path: Path) -> None:
    root = make(tmp_path / "d", [[0, 255]] * 2, [[0, 255]])
    words = ["data=folder", f"data.root={root}", "pictures=0", "output=o"]
    assert run_here(check, "check_data", *words, cwd=tmp_path).returncode == 1
    (line,) = (tmp_path / "o" / "findings.txt").read_text().splitlines()
    assert line.startswith("labels: the split 'train' has only one class")
    assert run_here(check, "check_data", *words, "data.allow_single_class=true", cwd=tmp_path).returncode == 0


def test_photos_of_12_bits_in_files_of_16_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "d", [[0, 1], [0, 1]], [[0, 1]])
    look(root, "train")
    assert not caplog.messages
    for path in root.glob("images/*.png"):
        read = np.asarray(cv2.imread(str(path)))
        assert cv2.imwrite(str(path), read.astype(np.uint16) * 16)
    for split in ("train", "val"):
        look(root, split)
    checked_samples(Folder(str(root), "train", value_range=[0, 4095]), "train", SIZE, masks=True)
    hint = "use only 12 of them, multiply their values by 16, or train with data.value_range=[0,4095]"
    assert [message.startswith("the photos of 'train'") for message in caplog.messages] == [True, False]
    assert all(message.endswith(hint) for message in caplog.messages)
    done = run_here(check, "check_data", "data=folder", f"data.root={root}", "pictures=0", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count(hint) == 2
