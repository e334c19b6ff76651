import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO as Official

import data.coco_index
from data.coco import CATEGORIES, COCO
from tests.data.layouts import SIZE, make_coco
from utils.errors import UserError

REAL = Path(os.environ.get("COCO_ROOT", Path(__file__).resolve().parents[3] / "shared" / "data" / "coco"))


def test_smaller_regions_lie_on_larger_ones_and_crowds_are_ignored(tmp_path: Path) -> None:
    dataset = COCO(str(make_coco(tmp_path)), "train")
    assert [dataset.name(i) for i in range(3)] == [f"train2017/{i:012}.jpg" for i in (1, 2, 3)]
    names = dataset.labels.names
    expected = np.zeros(SIZE, np.uint8)
    expected[32:64, 16:72] = names.index("dining table")
    expected[:, 80:] = 255  # 1,024 pixels, fewer than the table
    expected[8:40, 56:72] = names.index("person")
    expected[40:48, 40:48] = names.index("cup")
    np.testing.assert_array_equal(dataset[0].mask, expected)
    zebra = np.zeros(SIZE, np.uint8)
    zebra[8:40, 8:72] = names.index("zebra")
    np.testing.assert_array_equal(dataset[1].mask, zebra)
    assert not dataset[2].mask.any()
    assert dataset.size(0) == SIZE


def test_the_classes_of_voc(tmp_path: Path) -> None:
    dataset = COCO(str(make_coco(tmp_path)), "val", classes=21)
    assert [dataset.name(i) for i in range(len(dataset))] == ["val2017/000000000001.jpg"]  # no zebras in VOC
    mask, names = dataset[0].mask, dataset.labels.names
    assert mask[44, 44] == names.index("dining table")  # the cup is not painted
    assert mask[10, 60] == names.index("person") and mask[0, 90] == 255 and mask[0, 0] == 0


def test_every_class_of_voc_has_its_category() -> None:
    from data.coco import _train_ids
    from data.voc import LABELS

    assert sorted(i for i in _train_ids(LABELS).values() if i) == list(range(1, 21))
    assert sorted(_train_ids(COCO.__init__.__globals__["LABELS"]).values()) == list(range(1, 81))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no COCO at {REAL}; say COCO_ROOT=")
def test_the_real_one_agrees_with_pycocotools() -> None:
    """Each pixel belongs to the smallest region that covers it, by masks that the official class makes."""
    dataset, official = COCO(str(REAL), "val"), Official(REAL / "annotations" / "instances_val2017.json")
    assert len(dataset) == 12
    assert {c["id"]: c["name"] for c in official.dataset["categories"]} == CATEGORIES
    order = {category: i + 1 for i, category in enumerate(sorted(CATEGORIES))}
    for i in range(len(dataset)):
        image, mask, name = dataset[i]
        regions = official.loadAnns(official.getAnnIds(int(Path(name).stem)))
        area, expected = np.full(mask.shape, np.inf), np.zeros(mask.shape, np.uint8)
        for region in regions:
            inside = official.annToMask(region).astype(bool) & (region["area"] < area)
            area[inside] = region["area"]
            expected[inside] = 255 if region["iscrowd"] else order[region["category_id"]]
        np.testing.assert_array_equal(mask, expected)
        assert image.shape[:2] == mask.shape == dataset.size(i)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"COCO 2017 was not found.*\n.*data\.download=true"):
        COCO(str(tmp_path), "train")
    make_coco(tmp_path)
    with pytest.raises(UserError, match="no split 'test'"):
        COCO(str(tmp_path), "test")
    (tmp_path / "train2017" / "000000000002.jpg").unlink()
    dataset = COCO(str(tmp_path), "train")
    assert len(dataset) == 2
    assert ["000000000002.jpg: " in str(fault) for fault in dataset.faults] == [True]
    annotations = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(annotations.read_text())
    content["images"][1]["height"] += 1
    annotations.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"is 96x64, but 96x65 in its annotation"):
        COCO(str(tmp_path), "train")[0]
    content["annotations"][0]["category_id"] = 12
    annotations.write_text(json.dumps(content))
    with pytest.raises(UserError, match="12 is missing or unknown"):
        COCO(str(tmp_path), "train")
    annotations.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        COCO(str(tmp_path), "train")


def test_the_index_of_large_annotations_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.coco_index, "LARGE", 0)
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path / "home"))
    root = str(make_coco(tmp_path))
    made: list[Path] = []
    make = data.coco_index.make_index

    def counted(path: Path, train_ids: dict[int, int], all_photos: bool) -> data.coco_index.Index:
        made.append(path)
        return make(path, train_ids, all_photos)

    monkeypatch.setattr(data.coco_index, "make_index", counted)
    first, again = COCO(root, "train"), COCO(root, "train")
    assert len(made) == 1
    for i in range(3):
        np.testing.assert_array_equal(first[i].mask, again[i].mask)
        assert first.name(i) == again.name(i) and first.size(i) == again.size(i)
    assert len(COCO(root, "train", classes=21)) == 1 and len(made) == 2
    annotations = tmp_path / "annotations" / "instances_train2017.json"
    annotations.write_text(annotations.read_text() + " ")
    COCO(root, "train")
    assert len(made) == 3
    for kept in (tmp_path / "home" / ".cache").iterdir():
        kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(COCO(root, "train")[0].mask, first[0].mask)
    assert len(made) == 4


def test_an_index_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.coco_index, "LARGE", 0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path / "file"))
    assert len(COCO(str(make_coco(tmp_path)), "val")) == 3
