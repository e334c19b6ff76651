import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.camvid import CamVid, CamVidScores
from data.checking import checked_samples
from utils.errors import UserError

REAL = Path(os.environ.get("CAMVID_ROOT", Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"))


def test_void_is_ignored_and_the_rest_keeps_its_id(camvid: Path) -> None:
    dataset = CamVid(str(camvid), "train")
    assert len(dataset) == 4
    for i in range(4):
        sample = dataset[i]
        raw = np.asarray(Image.open(camvid / "trainannot" / f"{i:03}.png"))
        assert sample.name == f"train/{i:03}.jpg"
        assert sample.image.shape == (40, 48, 3)
        np.testing.assert_array_equal(sample.mask, np.where(raw == 11, 255, raw))
        assert [Path(p).name for p in dataset.files(i)] == [f"{i:03}.jpg", f"{i:03}.png"]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no CamVid at {REAL}; set CAMVID_ROOT")
def test_the_real_one_pairs_up() -> None:
    train, val = CamVid(str(REAL), "train"), CamVid(str(REAL), "val")
    assert (len(train), len(val)) == (367, 101)
    checked_samples(val, "val", None, masks=False)
    samples = [train[i] for i in range(0, 367, 20)]
    assert all(s.image.shape == (360, 480, 3) and s.mask.shape == (360, 480) for s in samples)
    above = np.bincount(np.concatenate([s.mask[:60].ravel() for s in samples]))
    below = np.bincount(np.concatenate([s.mask[240:300].ravel() for s in samples]))
    assert set(np.argsort(-above)[:3]) == {0, 1, 5}  # sky, buildings, trees
    assert below.argmax() == 3  # road


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no CamVid at {REAL}; set CAMVID_ROOT")
def test_splits_that_hold_out_a_sequence() -> None:
    splits = {name: CamVid(str(REAL), name) for name in ("train", "val", "trainval", "train_dev", "dev")}
    names = {split: [dataset.name(i) for i in range(len(dataset))] for split, dataset in splits.items()}
    on_disk = {kind: {f"{kind}/{path.name}" for path in (REAL / kind).iterdir()} for kind in ("train", "val")}
    assert len(names["trainval"]) == 468 and set(names["trainval"]) == on_disk["train"] | on_disk["val"]
    assert (len(names["train_dev"]), len(names["dev"])) == (266, 101)
    assert {name.split("/")[1].split("_")[0] for name in names["dev"]} == {"0006R0"}
    assert "0006R0" not in {name.split("/")[1].split("_")[0] for name in names["train_dev"]}
    assert set(names["train_dev"]) | set(names["dev"]) == on_disk["train"]
    sample = splits["trainval"][467]  # the last of val
    assert sample.name.startswith("val/") and sample.image.shape[:2] == sample.mask.shape == (360, 480)


def test_a_camvid_without_the_sequence_has_no_dev(camvid: Path) -> None:
    assert len(CamVid(str(camvid), "trainval")) == 6
    for split in ("dev", "train_dev"):
        with pytest.raises(UserError, match=rf"split '{split}'.*no photos of sequence 0006R0"):
            CamVid(str(camvid), split)


def test_what_is_wrong_is_named(camvid: Path) -> None:
    with pytest.raises(UserError, match=r"no split 'vla'.*did you mean 'val'"):
        CamVid(str(camvid), "vla")
    with pytest.raises(UserError, match=r"nowhere.*\n.*data\.root="):
        CamVid("/nowhere", "train")
    with pytest.raises(UserError, match=r"no folder /nowhere/test\nGet .* which has test/ and testannot/, from https"):
        CamVid("/nowhere", "test")
    (camvid / "trainannot" / "002.png").unlink()
    with pytest.raises(UserError, match=r"002\.jpg: there is no mask"):
        checked_samples(CamVid(str(camvid), "train"), "train", None, masks=True)
    (camvid / "valannot" / "extra.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"extra\.png: there is no image"):
        checked_samples(CamVid(str(camvid), "val"), "val", None, masks=True)
    for folder in ("val", "valannot"):
        for path in (camvid / folder).iterdir():
            path.unlink()
    with pytest.raises(UserError, match="the split 'val' is empty"):
        checked_samples(CamVid(str(camvid), "val"), "val", None, masks=True)


def test_the_two_ways_of_dealing_with_void() -> None:
    """Two classes: 6 + 2 pixels of the first, 1 + 3 of the second, and 4 void ones taken for the second."""
    confusion = np.zeros((11, 11), np.int64)
    confusion[0, 0], confusion[0, 1], confusion[1, 0], confusion[1, 1] = 6, 2, 1, 3
    ignored = np.zeros(11, np.int64)
    ignored[1] = 4
    found = CamVidScores().results(confusion, ignored)
    assert found["miou, void ignored"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert found["miou, void as false positives"] == pytest.approx((6 / 9 + 3 / 10) / 2)
    assert found["class-average accuracy"] == pytest.approx((6 / 8 + 3 / 4) / 2)


def test_the_check_before_training_finds_each_broken_file(camvid: Path) -> None:
    dataset = CamVid(str(camvid), "train")
    checked_samples(dataset, "train", None, masks=True)
    mask = camvid / "trainannot" / "003.png"
    good = mask.read_bytes()
    broken = {
        "ids outside the label set: 12": np.full((40, 48), 12, np.uint8),
        "48x40 but its mask .* is 48x39": np.zeros((39, 48), np.uint8),
    }
    for words, content in broken.items():
        Image.fromarray(content).save(mask)
        with pytest.raises(UserError, match=words):
            checked_samples(dataset, "train", None, masks=True)
        checked_samples(dataset, "train", (40, 48), masks=True, limit=3)  # the first three are fine
    mask.write_bytes(b"")
    with pytest.raises(UserError, match="empty"):
        checked_samples(dataset, "train", None, masks=True)
    mask.write_bytes(good)
    checked_samples(dataset, "train", None, masks=True)
    with pytest.raises(UserError, match="'train' is empty"):
        checked_samples(dataset, "train", (40, 48), masks=True, limit=0)
