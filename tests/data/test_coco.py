import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO as Official

import data.coco_index
from data.coco import CATEGORIES, COCO, LABELS, photos_below, train_ids
from data.voc import LABELS as VOC_LABELS
from tests.data.layouts import SIZE, box, make_coco, photo, region, run_lengths, write
from utils.errors import NotThere, UserError

REAL = Path(os.environ.get("COCO_ROOT", Path(__file__).resolve().parents[3] / "shared" / "data" / "coco"))


def change(root: Path, split: str, edit: Callable[[Any], object]) -> None:
    """Edits the annotations of a split."""
    path = root / "annotations" / f"instances_{split}2017.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


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
    names = CATEGORIES.values()
    assert sorted(i for i in train_ids(names, VOC_LABELS) if i is not None) == list(range(1, 21))
    assert train_ids(names, LABELS) == list(range(1, 81))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no COCO at {REAL}; set COCO_ROOT")
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
        for each in regions:
            inside = official.annToMask(each).astype(bool) & (each["area"] < area)
            area[inside] = each["area"]
            expected[inside] = 255 if each["iscrowd"] else order[each["category_id"]]
        np.testing.assert_array_equal(mask, expected)
        assert image.shape[:2] == mask.shape == dataset.size(i)


@pytest.mark.parametrize("name", ["\ud800.jpg", "a\0b.jpg"])
def test_a_name_that_no_file_can_have_is_a_fault(tmp_path: Path, name: str) -> None:
    make_coco(tmp_path)
    change(tmp_path, "train", lambda content: content["images"][0].update(file_name=name))
    (fault,) = COCO(str(tmp_path), "train").faults
    assert "lists it, but it is not there" in str(fault) and str(fault).isprintable()


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"COCO 2017 was not found.*\n.*data\.download=true"):
        COCO(str(tmp_path), "train")
    make_coco(tmp_path)
    with pytest.raises(UserError, match="no split 'test'"):
        COCO(str(tmp_path), "test")
    annotations = tmp_path / "annotations"
    (annotations / "instances_val2017.json").rename(tmp_path / "val.json")
    with pytest.raises(
        UserError, match=r"there is no .*instances_val2017.json.*\n.*pass data.folds=5 data.fold=0"
    ) as caught:
        COCO(str(tmp_path), "val")
    assert f"if {tmp_path / 'val.json'} is meant, rename it to {annotations / 'instances_val2017.json'}\n" in str(
        caught.value
    )
    (tmp_path / "train2017" / "000000000002.jpg").unlink()
    dataset = COCO(str(tmp_path), "train")
    assert len(dataset) == 2
    assert ["000000000002.jpg: " in str(fault) for fault in dataset.faults] == [True]
    change(tmp_path, "train", lambda content: content["images"][0].update(height=65))
    with pytest.raises(UserError, match=r"is 96x64, but 96x65 in its annotation$"):
        COCO(str(tmp_path), "train")[1]
    with Image.open(tmp_path / "train2017" / "000000000001.jpg") as picture:
        picture.getexif()[274] = 6
        picture.save(tmp_path / "train2017" / "000000000001.jpg", exif=picture.getexif())
    with pytest.raises(UserError, match=r"is 64x96, but 96x64 in its annotation: the photo is turned by its EXIF tag"):
        COCO(str(tmp_path), "train")[0]


def test_the_index_of_large_annotations_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.coco_index, "LARGE", 0)
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path / "home"))
    root = str(make_coco(tmp_path))
    change(tmp_path, "val", lambda content: content["annotations"][3]["segmentation"].update(counts=[-1]))
    made: list[Path] = []
    make = data.coco_index.make_index

    def counted(path: Path) -> data.coco_index.Index:
        made.append(path)
        return make(path)

    monkeypatch.setattr(data.coco_index, "make_index", counted)
    # The file of the other split is read too, for its categories.
    first, again = COCO(root, "train"), COCO(root, "train")
    assert len(made) == 2
    for i in range(3):
        np.testing.assert_array_equal(first[i].mask, again[i].mask)
        assert first.name(i) == again.name(i) and first.size(i) == again.size(i)
    assert len(COCO(root, "train", classes=21)) == 1 and len(made) == 2
    damaged = COCO(root, "val")
    assert len(made) == 2
    assert len(damaged.faults) == 1 and "negative count" in str(damaged.faults[0])
    annotations = tmp_path / "annotations" / "instances_train2017.json"
    annotations.write_text(annotations.read_text() + " ")
    COCO(root, "train")
    assert len(made) == 3
    for kept in (tmp_path / "home" / ".cache").iterdir():
        kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(COCO(root, "train")[0].mask, first[0].mask)
    assert len(made) == 5


def test_an_index_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.coco_index, "LARGE", 0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path / "file"))
    assert len(COCO(str(make_coco(tmp_path)), "val")) == 3


OWN = [{"id": 3, "name": "dent"}, {"id": 1, "name": "scratch"}]


def own_categories(root: Path, train: list[dict[str, Any]], val: list[dict[str, Any]]) -> Path:
    """A photo a split: the left half of the first category of the file, a spot of the second on it."""
    height, width = SIZE
    for split, categories in (("train", train), ("val", val)):
        folder = f"{split}2017"
        write(root / folder / "a.jpg", photo(0))
        left, spot = box(0, 0, width // 2, height), box(8, 8, 16, 16)
        outlines = zip(categories, (left, spot), (height * width // 2, 64), strict=False)
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}],
            "annotations": [region(1, category["id"], outline, area) for category, outline, area in outlines],
            "categories": categories,
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{folder}.json").write_text(json.dumps(content))
    return root


def test_categories_of_ones_own_are_the_classes(tmp_path: Path) -> None:
    dataset = COCO(str(own_categories(tmp_path, OWN, OWN)), "train")
    assert dataset.labels.names == ("background", "scratch", "dent")  # in the order of the ids
    assert dataset.labels.ids == (0, 1, 3)
    expected = np.zeros(SIZE, np.uint8)
    expected[:, :48] = 2
    expected[8:16, 8:16] = 1
    np.testing.assert_array_equal(dataset[0].mask, expected)
    with pytest.raises(UserError, match=r"data\.classes=21: the categories in .* are not COCO's, such as scratch"):
        COCO(str(tmp_path), "train", classes=21)


def test_a_line_feed_in_the_name_of_a_category(tmp_path: Path) -> None:
    categories = [{"id": 7, "name": "dent"}, {"id": 9, "name": "two\nlines"}]
    dataset = COCO(str(own_categories(tmp_path, categories, categories)), "train")
    assert dataset.labels.names == ("background", "dent", r"two\nlines")
    assert (dataset[0].mask == 2).sum() == 64


def test_names_of_categories_are_equal_in_any_unicode_form(tmp_path: Path) -> None:
    """The splits may come from different systems."""
    composed, decomposed = (
        [{"id": i, "name": name} for i, name in ((7, cafe), (9, "x"))] for cafe in ("caf\u00e9", "cafe\u0301")
    )
    own_categories(tmp_path, composed, decomposed)
    for split in ("train", "val"):
        dataset = COCO(str(tmp_path), split)
        assert dataset.labels.names == ("background", "caf\u00e9", "x") and (dataset[0].mask == 1).sum() > 64


@pytest.mark.parametrize(
    ("key", "field"), [("images", "id"), ("annotations", "image_id"), ("annotations", "category_id")]
)
def test_ids_may_be_texts_in_one_place_and_numbers_in_another(tmp_path: Path, key: str, field: str) -> None:
    make_coco(tmp_path)
    expected = [COCO(str(tmp_path), "train")[i].mask for i in range(3)]
    change(tmp_path, "train", lambda content: [e.update({field: str(e[field])}) for e in content[key]])
    dataset = COCO(str(tmp_path), "train")
    for i in range(3):
        np.testing.assert_array_equal(dataset[i].mask, expected[i])


def test_crowds_of_ones_own_categories_are_painted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As CVAT exports what was drawn with a brush."""
    own_categories(tmp_path, OWN, OWN)
    expected = COCO(str(tmp_path), "train")[0].mask
    spot = np.zeros(SIZE, np.uint8, order="F")
    spot[8:16, 8:16] = 1
    brushed = {"iscrowd": 1, "segmentation": {"size": list(SIZE), "counts": run_lengths(spot)}}
    change(tmp_path, "train", lambda content: content["annotations"][1].update(brushed))
    np.testing.assert_array_equal(COCO(str(tmp_path), "train")[0].mask, expected)
    assert expected[8, 8] == 1 and not caplog.records


def test_splits_may_number_their_categories_differently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = [{"id": 1, "name": "dent"}, {"id": 2, "name": "rust"}]
    own_categories(tmp_path, OWN, other)
    with caplog.at_level(logging.WARNING):
        train, val = COCO(str(tmp_path), "train"), COCO(str(tmp_path), "val")
    assert train.labels == val.labels and train.labels.names == ("background", "scratch", "dent", "rust")
    assert (train[0].mask[0, 0], train[0].mask[8, 8]) == (2, 1)
    assert (val[0].mask[0, 0], val[0].mask[8, 8]) == (2, 3)
    assert [record.getMessage().partition("lacks")[2] for record in caplog.records] == [
        " categories of the other split: rust",
        " categories of the other split: scratch",
    ]


def test_the_names_of_coco_count_and_not_its_ids(tmp_path: Path) -> None:
    """Exports renumber the categories."""
    renumbered = [{"id": 1, "name": "zebra"}, {"id": 2, "name": "person"}]
    own_categories(tmp_path, renumbered, renumbered[:1])
    dataset = COCO(str(tmp_path), "train")
    assert dataset.labels is LABELS
    assert (dataset[0].mask[0, 0], dataset[0].mask[8, 8]) == (LABELS.names.index("zebra"), 1)
    dataset = COCO(str(tmp_path), "train", classes=21)
    assert (dataset[0].mask[0, 0], dataset[0].mask[8, 8]) == (0, VOC_LABELS.names.index("person"))


@pytest.mark.parametrize("name", ["background", "Background"])
def test_a_category_for_the_background_is_the_background(tmp_path: Path, name: str) -> None:
    categories = [{"id": 7, "name": "dent"}, {"id": 0, "name": name}]
    dataset = COCO(str(own_categories(tmp_path, categories, categories)), "train")
    assert dataset.labels.names == ("background", "dent")
    assert dataset[0].mask[0, 0] == 1 and not dataset[0].mask[8:16, 8:16].any()


def test_ids_that_a_mask_cannot_hold_are_left_out_of_the_labels(tmp_path: Path) -> None:
    categories: list[dict[str, Any]] = [{"id": 1000, "name": "dent"}, {"id": "s", "name": "scratch"}]
    dataset = COCO(str(own_categories(tmp_path, categories, categories)), "train")
    assert dataset.labels.names == ("background", "dent", "scratch") and dataset.labels.ids is None
    assert (dataset[0].mask[0, 0], dataset[0].mask[8, 8]) == (1, 2)
    many = [{"id": i, "name": f"kind {i}"} for i in range(255)]
    with pytest.raises(UserError, match="255 categories; a mask of 8 bits holds 254 and background"):
        COCO(str(own_categories(tmp_path, many, many)), "train")


def test_the_original_file_is_read_alone(tmp_path: Path) -> None:
    original = [{"id": i, "name": name} for i, name in CATEGORIES.items()]
    own_categories(tmp_path, original, original)
    (tmp_path / "annotations" / "instances_val2017.json").write_text("broken")
    assert COCO(str(tmp_path), "train").labels is LABELS


DECOMPOSED = ["e\u0301.jpg", "e\u0301/1.jpg"]
"""As macOS writes them."""


@pytest.mark.parametrize(
    ("listed", "there", "expected"),
    [
        (["cam0/1.jpg", "cam1/1.jpg"], ["cam0/1.jpg", "cam1/1.jpg"], ["cam0/1.jpg", "cam1/1.jpg"]),
        (["1.jpg", "2.jpg"], ["cam0/1.jpg", "cam1/sub/2.jpg"], ["cam0/1.jpg", "cam1/sub/2.jpg"]),
        (["images\\1.jpg", "/home/me/train2017/cam/2.jpg"], ["1.jpg", "cam/2.jpg"], ["1.jpg", "cam/2.jpg"]),
        (["./1.jpg", "a/1.jpg"], ["1.jpg", "a/1.jpg"], ["./1.jpg", "a/1.jpg"]),
        (["1.jpg"], ["cam0/1.jpg", "cam1/1.jpg"], [None]),  # either could be meant
        (["cam0/1.jpg", "x/1.jpg"], ["1.jpg"], [None, None]),
        (["cam0/1.jpg"], ["cam1/1.jpg"], [None]),
        (["cam0/1.jpg", "1.jpg"], ["cam0/1.jpg"], ["cam0/1.jpg", None]),
        (["1.jpg"], ["a/1.jpg", "a/.hidden/1.jpg", "@eaDir/1.jpg", "__MACOSX/a/1.jpg"], ["a/1.jpg"]),
        (["1.jpg", "gone.jpg"], ["1.jpg"], ["1.jpg", None]),
        (["a.JPG", "Cam/B.jpg"], ["a.jpg", "cam/b.JPG"], ["a.jpg", "cam/b.JPG"]),
        (["a.JPG"], ["a.jpg", "A.jpg"], [None]),
        (["\u00e9.jpg", "x/\u00e9/1.jpg"], DECOMPOSED, DECOMPOSED),
    ],
)
def test_photos_in_subfolders_are_found(
    tmp_path: Path, listed: list[str], there: list[str], expected: list[str | None]
) -> None:
    for path in there:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    found = photos_below(tmp_path, listed)
    assert [found.get(i) for i in range(len(listed))] == expected


def test_photos_in_a_linked_subfolder_are_read(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "train2017" / "000000000001.jpg").rename(tmp_path / "elsewhere" / "1.jpg")
    (tmp_path / "train2017" / "cam0").symlink_to(tmp_path / "elsewhere")
    change(tmp_path, "train", lambda content: content["images"][1].update(file_name="cam0/1.jpg"))
    dataset = COCO(str(tmp_path), "train")
    assert dataset.faults == [] and dataset.name(0) == "train2017/cam0/1.jpg"
    assert dataset[0].mask[10, 60] == 1


def test_what_cannot_be_used_is_left_out_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_coco(tmp_path)
    expected = [COCO(str(tmp_path), "train")[i].mask for i in range(3)]
    outline = box(0, 0, 96, 64)
    odd: list[Any] = [
        {"id": 10, **region(1, 1, None, 9)},
        {"id": 11, **region(1, 1, [], 9)},
        {"id": 12, **region(2, 1, [[1, 2, 30, 40]], 9)},
        {"id": 13, **region(999, 1, outline, 9)},
        {"id": 14, **region(1, 0, outline, 9)},
        {"id": 15, "image_id": 1, "category_id": 1},
        {"id": 16, **region(1, 1, outline, 9), "iscrowd": "no"},
        {"id": 17, "image_id": [1], "category_id": 1},
        "annotation",
        None,
    ]
    change(tmp_path, "train", lambda content: content["annotations"].extend(odd))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        dataset = COCO(str(tmp_path), "train")
    assert dataset.faults == []
    for i in range(3):
        np.testing.assert_array_equal(dataset[i].mask, expected[i])
    left_out, crowds = (record.getMessage() for record in caplog.records)
    assert "instances_train2017.json: ignored 1 annotation with iscrowd=1, as in COCO; set iscrowd to 0" in crowds
    _, _, text = left_out.partition("instances_train2017.json: ")
    assert text == (
        "left out 10 annotations: 3 without an outline (such as annotation 10 of 000000000001.jpg),"
        " 1 with fewer than 3 points (such as annotation 12 of 000000000002.jpg),"
        " 2 of photos that are not listed (such as annotation 13),"
        " 1 of categories that are not listed (such as annotation 14),"
        " 1 with an iscrowd other than 0 and 1 (such as annotation 16 of 000000000001.jpg),"
        " 2 of another form (such as annotations[13])"
    )


def test_sides_written_as_floats_are_whole(tmp_path: Path) -> None:
    make_coco(tmp_path)
    expected = [COCO(str(tmp_path), "train")[i].mask for i in range(3)]

    def edit(content: Any) -> None:
        for entry in content["images"]:
            entry |= {"height": float(entry["height"]), "width": float(entry["width"])}

    change(tmp_path, "train", edit)
    dataset = COCO(str(tmp_path), "train")
    assert dataset.faults == [] and dataset.size(0) == SIZE
    for i in range(3):
        np.testing.assert_array_equal(dataset[i].mask, expected[i])


def test_no_iscrowd_is_none_and_no_area_is_that_of_the_outline(tmp_path: Path) -> None:
    make_coco(tmp_path)
    expected = COCO(str(tmp_path), "train")[0].mask

    def edit(content: Any) -> None:
        for entry, area in zip(content["annotations"][:3], (0, math.nan, "big"), strict=True):
            del entry["iscrowd"]
            entry["area"] = area
        content["annotations"][0]["iscrowd"] = None
        content["annotations"][3]["iscrowd"] = "1"
        content["annotations"][4]["iscrowd"] = "0"
        del content["annotations"][3]["area"]

    change(tmp_path, "train", edit)
    np.testing.assert_array_equal(COCO(str(tmp_path), "train")[0].mask, expected)


def test_a_damaged_outline_is_a_fault_of_its_photo(tmp_path: Path) -> None:
    make_coco(tmp_path)
    damaged = [
        {"id": 77, **region(2, 1, [[0, 0, math.nan, 5, 5, 5]], 9)},
        {"id": 78, **region(2, 1, {"size": list(SIZE), "counts": [1]}, 9)},
    ]
    change(tmp_path, "train", lambda content: content["annotations"].extend(damaged))
    dataset = COCO(str(tmp_path), "train")
    assert [str(fault).partition(".json: ")[2] for fault in dataset.faults] == [
        "annotation 77 of 000000000002.jpg: its polygon has the coordinate nan; correct or remove it",
        "annotation 78 of 000000000002.jpg: its run lengths add up to 1 pixels, the photo has 6144;"
        " correct or remove it",
    ]
    assert dataset[0].mask.any()
    with pytest.raises(UserError, match="annotation 77"):
        dataset[1]


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty: not valid JSON"),
        ("{", "line 1: not valid JSON"),
        ("größe", "not a text in UTF-8"),
        ("\x1f\x8b\b\0", r"compressed \(gzip\); unpack it"),
        (DEEP, "nested too deeply"),
        ("[]", "must be a table of keys and values, not list"),
        ('{"images": [], "categories": []}', "annotations: the key is missing"),
        ('{"images": [], "annotations": {}, "categories": []}', "annotations: must be a list, not dict"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str, message: str) -> None:
    make_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=message) as caught:
        COCO(str(tmp_path), "train")
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "place", "value", "message"),
    [
        ("images", 1, None, r"images\.1: must be a table of keys and values, not None"),
        ("images", 1, {"id": 1}, r"images\.1\.file_name: the key is missing"),
        ("images", 1, {"id": None}, r"images\.1\.id: must be a whole number or a string, not None"),
        ("images", 1, {"id": math.nan}, r"id: .* not nan"),
        ("images", 1, {"id": [1]}, r"id: .* not list"),
        ("images", 1, {"id": 1, "file_name": 5}, r"file_name: must be a string, not 5"),
        ("images", 1, {"id": 1, "file_name": "a", "height": math.nan}, r"height: must be .* not nan"),
        ("images", 1, {"id": 1, "file_name": "a", "height": 4.5}, r"height: must be an integer, not 4\.5"),
        ("images", 1, {"id": 1, "file_name": "a", "height": -4}, r"height: must be greater than 0, not -4"),
        ("images", 1, {"id": 1, "file_name": "a", "height": 4, "width": 2**40}, r"width: must be less than"),
        ("images", 1, {"id": 3, "file_name": "a", "height": 4, "width": 4}, "2 images have the id 3"),
        (
            *("images", 1, {"id": 9, "file_name": "000000000003.jpg", "height": 4, "width": 4}),
            r"2 images have the file_name '000000000003\.jpg'",
        ),
        ("categories", 0, 5, r"categories\.0: must be a table of keys and values, not 5"),
        ("categories", 0, {"id": 1}, r"categories\.0\.name: the key is missing"),
        ("categories", 0, {"id": True, "name": "person"}, r"categories\.0\.id: .* not True"),
        ("categories", 0, {"id": 7, "name": " "}, r"the category 7 has no name"),
        ("categories", 1, {"id": 1, "name": "dog"}, r"2 categories have the id 1"),
    ],
)
def test_an_entry_of_another_form_is_refused(tmp_path: Path, key: str, place: int, value: Any, message: str) -> None:
    make_coco(tmp_path)
    change(tmp_path, "train", lambda content: content[key].__setitem__(place, value))
    with pytest.raises(UserError, match=message) as caught:
        COCO(str(tmp_path), "train")
    assert "instances_train2017.json: " in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_any_annotation_that_can_be_used_is_refused(tmp_path: Path) -> None:
    make_coco(tmp_path)
    change(tmp_path, "train", lambda content: content["categories"].clear())
    with pytest.raises(UserError, match="none of its 5 annotations can be used: 5 of categories that are not listed"):
        COCO(str(tmp_path), "train")


def exported(path: Path, photos: dict[str, int], categories: list[dict[str, Any]]) -> None:
    """Write an annotation file in which the left half of each photo shows a category."""
    height, width = SIZE
    left = [[0, 0, width / 2, 0, width / 2, height, 0, height]]
    images = [{"id": i, "file_name": name, "height": height, "width": width} for i, name in enumerate(photos)]
    annotations = [
        {"id": i, "image_id": i, "category_id": category, "segmentation": left, "iscrowd": 0}
        for i, category in enumerate(photos.values())
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


@pytest.mark.parametrize("name", ["annotations/instances_default.json", "result.json"])
def test_annotations_of_another_name_are_named(tmp_path: Path, name: str) -> None:
    """CVAT's and Label Studio's of a project without subsets."""
    write(tmp_path / "images" / "a.jpg", photo(0))
    exported(tmp_path / name, {"a.jpg": 1}, OWN)
    with pytest.raises(
        NotThere, match=rf"if {tmp_path / name} is meant, rename it to .*/annotations/instances_train\.json"
    ):
        COCO(str(tmp_path), "train")
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / name).rename(tmp_path / "annotations" / "instances_train.json")
    assert len(COCO(str(tmp_path), "train")) == 1
    with pytest.raises(NotThere) as caught:
        COCO(str(tmp_path), "val")
    assert "rename" not in str(caught.value) and "data.folds=5" in str(caught.value)


@pytest.mark.parametrize("tool", ["roboflow", "cvat", "cvat of one folder", "cvat's own names"])
def test_exports_are_read_as_they_are(tmp_path: Path, tool: str) -> None:
    """Roboflow: the annotations among the photos, in valid/ too. CVAT: instances_<split>.json, images/ or below it."""
    categories = [{"id": 0, "name": "things"}, {"id": 1, "name": "dent"}, {"id": 2, "name": "rust"}]
    for split, category in (("train", 1), ("val", 2)):
        if tool == "roboflow":
            folder = tmp_path / {"train": "train", "val": "valid"}[split]
            annotations = folder / "_annotations.coco.json"
        else:
            folder = tmp_path / "images" / ("" if "one" in tool else split)
            annotations = tmp_path / "annotations" / f"instances_{split}.json"
        if "own" in tool:
            name = {"train": "Train", "val": "Validation"}[split]
            folder, annotations = tmp_path / "images" / name, annotations.with_name(f"instances_{name}.json")
        write(folder / f"{split}_0.jpg", photo(0))
        exported(annotations, {f"{split}_0.jpg": category}, categories)
    for split, category in (("train", 2), ("val", 3)):
        dataset = COCO(str(tmp_path), split)
        assert dataset.labels.names == ("background", "things", "dent", "rust") and not dataset.faults
        sample = dataset[0]
        assert Path(dataset.files(0)[0]).is_file()
        expected = np.zeros(SIZE, np.uint8)
        expected[:, : SIZE[1] // 2] = category
        np.testing.assert_array_equal(sample.mask, expected)
