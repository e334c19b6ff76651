import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.folder import Folder
from tests.data.layouts import blocks, make_folder, photo, write
from tests.data.tiff_files import write_tiff
from utils.errors import SizeMismatch, UserError

IDS = {0: 0, 1: 1, 7: 2, 255: 255}


def names(dataset: Folder) -> list[str]:
    return [Path(dataset.name(i)).stem for i in range(len(dataset))]


def test_ids_are_those_of_the_labels_file(tmp_path: Path) -> None:
    make_folder(tmp_path)
    dataset = Folder(str(tmp_path), "train")
    assert dataset.labels.names == ("background", "cat", "dog")
    for i in range(len(dataset)):
        number = int(names(dataset)[i].split()[1])
        expected = [[IDS[v] for v in row] for row in blocks(number, [0, 1, 7, 255]).tolist()]
        assert dataset[i].mask.tolist() == expected


def test_masks_may_hold_the_colours(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "train.txt").write_text("photo 3\n")
    ids = blocks(3, [0, 1, 7, 255])
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 7, 255]] = (200, 0, 0), (0, 0, 200), (255, 255, 255)
    Image.fromarray(palette[ids]).save(tmp_path / "masks" / "photo 3.png")
    expected = [[IDS[v] for v in row] for row in ids.tolist()]
    assert Folder(str(tmp_path), "train")[0].mask.tolist() == expected
    opaque = np.dstack([palette[ids], np.full(ids.shape, 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "masks" / "photo 3.png")
    assert Folder(str(tmp_path), "train")[0].mask.tolist() == expected
    palette[7] = 0, 0, 201
    Image.fromarray(palette[ids]).save(tmp_path / "masks" / "photo 3.png")
    with pytest.raises(UserError, match=r"photo 3\.png: the mask has the colour \(0, 0, 201\).*pixels"):
        Folder(str(tmp_path), "train")[0]


def test_without_lists_names_alone_divide(tmp_path: Path) -> None:
    make_folder(tmp_path, count=60)
    train, val = names(Folder(str(tmp_path), "train")), names(Folder(str(tmp_path), "val"))
    assert sorted(train + val) == sorted(f"photo {i}" for i in range(60))
    assert 5 <= len(val) <= 20
    for i in range(30):  # more or fewer files: each stays where it was
        (tmp_path / "images" / f"photo {i}.jpg").unlink()
        (tmp_path / "masks" / f"photo {i}.png").unlink()
    assert set(names(Folder(str(tmp_path), "val"))) == set(val) - {f"photo {i}" for i in range(30)}


def test_lists_divide(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"photo 1.jpg\r\n\r\nphoto 5\r\nphoto 77\r\n")
    dataset = Folder(str(tmp_path), "train")
    assert names(dataset) == ["photo 1", "photo 5"]
    assert [str(fault) for fault in dataset.faults] == [
        f"{tmp_path / 'train.txt'} lists photo 77, but there is no such file; a line is an image, or an image and its"
        " mask, as images/a.png masks/a.png"
    ]
    with pytest.raises(UserError, match=r"no split 'val' in .*neither val\.txt nor images/val/"):
        Folder(str(tmp_path), "val")


def test_folders_divide(tmp_path: Path) -> None:
    make_folder(tmp_path, count=3)
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / kind / "val").mkdir()
        (tmp_path / kind / f"photo 2.{suffix}").rename(tmp_path / kind / "val" / f"photo 2.{suffix}")
    assert names(Folder(str(tmp_path), "val")) == ["photo 2"]


def test_two_files_of_one_stem_are_a_fault(tmp_path: Path) -> None:
    make_folder(tmp_path, count=2)
    (tmp_path / "train.txt").write_text("photo 0\nphoto 1\n")
    Image.new("RGB", (96, 64)).save(tmp_path / "images" / "photo 1.png")
    (fault,) = Folder(str(tmp_path), "train").faults
    assert "photo 1.jpg and " in str(fault) and "photo 1.png: which of them should be used?" in str(fault)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such labels file"),
        ("{", "not a labels file"),
        ('["a"]', "not a labels file"),
        ('{"0": {"class": "a"}}', "'color'"),
        ('{"a": {"class": "a", "color": [0, 0, 0]}}', "'a'"),
        ('{"65535": {"class": "a", "color": [0, 0, 0]}}', "0 to 65534"),
        ('{"0": {"class": {}, "color": [0, 0, 0]}}', "the name of id 0"),
        ('{"3": {"class": " ", "color": [0, 0, 0]}}', "id 3 has an empty name"),
        ('{"0": {"class": "a", "color": 7}}', "7 is not a colour"),
        ('{"0": {"class": "a", "color": [0.5, 0, 0]}}', "not a colour"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "ignore": 3}', "'ignore' is a list"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "ignore": [true]}', "True is not a colour"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "ignore": [0]}', "'ignore': 0 is the id or colour of a class"),
        ('{"0": {"class": "a", "color": [0, 0, 7]}, "ignore": [[0, 0, 7]]}', "the id or colour of a class"),
        ("[" * 100_000, "not a labels file"),
        ("", "not a labels file"),
        ('{"%s": 0}' % ("1" * 5000), "not a labels file"),
        ('{"%s": 0}' % ("\\n" * 5000), "not a labels file"),
        ('{"\\u0663": {"class": "a", "color": [0, 0, 0]}}', "is not an id"),
        ('{"0": {"class": "a", "color": [0, 0, NaN]}}', "not a colour"),
        ('{"0": {"class": "a", "color": [0, 0, 300]}}', "0 to 255"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "1": {"class": "b", "color": [0, 0, 0]}}', "the same colour"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "0": {"class": "b", "color": [0, 0, 1]}}', "'0' occurs twice"),
        ('{"0": {"class": "a", "class": "b", "color": [0, 0, 0]}}', "'class' occurs twice"),
        ('{"1": {"class": "a", "color": [0, 0, 0]}, "01": {"class": "b", "color": [0, 0, 1]}}', "the same id"),
        ('{"0": {"class": "a", "color": [0, 0, 0]}, "1": {"class": "a", "color": [0, 0, 1]}}', "repeat"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, content: str | None, words: str) -> None:
    make_folder(tmp_path, count=2)
    (tmp_path / "labels.json").unlink()
    if content is not None:
        (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match=words) as error:
        Folder(str(tmp_path), "train")
    assert '{"0": {"class": "background", "color": [0, 0, 0]}' in str(error.value)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 1000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_labels_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    make_folder(tmp_path, count=2)
    path = tmp_path / "labels.json"
    path.write_text(path.read_text().replace("dog", "größer"), encoding=encoding)
    assert Folder(str(tmp_path), "train").labels.names[2] == "größer"


def test_ids_of_one_name_and_colour_are_one_class(tmp_path: Path) -> None:
    make_folder(tmp_path, count=1)
    (tmp_path / "train.txt").write_text("photo 0\n")
    black, red = [0, 0, 0], [200, 0, 0]
    named = {"1": ("animal", red), "0": ("ground", black), "7": ("animal", red), "9": ("sky", [0, 0, 9])}
    content = {key: {"class": name, "color": color} for key, (name, color) in named.items()}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    raw = np.repeat(np.array([[0, 1, 7, 9, 255, 1, 0, 7]], np.uint8), 64, 0).repeat(12, 1)
    Image.fromarray(raw).save(tmp_path / "masks" / "photo 0.png")
    dataset = Folder(str(tmp_path), "train")
    assert dataset.labels.names == ("ground", "animal", "sky") and dataset.labels.ids == (0, 1, 9)
    assert dataset[0].mask[0, ::12].tolist() == [0, 1, 1, 2, 255, 1, 0, 1]
    painted = np.where(np.isin(raw, (1, 7))[..., None], red, black).astype(np.uint8)
    Image.fromarray(painted).save(tmp_path / "masks" / "photo 0.png")
    assert dataset[0].mask[0, ::12].tolist() == [0, 1, 1, 0, 0, 1, 0, 1]


def test_photos_in_place_of_masks_are_recognised(tmp_path: Path) -> None:
    make_folder(tmp_path, count=2)
    for image in (tmp_path / "images").glob("*.jpg"):
        noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "masks" / f"{image.stem}.png")
    with pytest.raises(UserError, match=r"photo 0\.png: this is a photo rather than a mask.*swapped\?"):
        Folder(str(tmp_path), "all")[0]
    faults = Folder(str(tmp_path), "all", images="masks", masks="images").faults
    assert "photo 0.jpg" in str(faults[0]) and str(faults[0]).endswith(
        "or are the folders of images and masks swapped?"
    )


def test_labels_elsewhere(tmp_path: Path) -> None:
    make_folder(tmp_path, count=2)
    elsewhere = tmp_path / "other labels.json"
    (tmp_path / "labels.json").rename(elsewhere)
    assert len(Folder(str(tmp_path), "train", labels=str(elsewhere)).labels) == 3
    assert json.loads(elsewhere.read_text())["7"]["class"] == "dog"


def test_an_id_that_is_in_no_label_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, count=1)
    (tmp_path / "train.txt").write_text("photo 0\n")
    Image.fromarray(np.full((64, 96), 3, np.uint8)).save(tmp_path / "masks" / "photo 0.png")
    with pytest.raises(
        UserError,
        match=r"photo 0\.png: the mask has ids outside the label set: 3; name them in .*labels\.json, or list",
    ):
        Folder(str(tmp_path), "train")[0]


def test_no_such_folder() -> None:
    with pytest.raises(UserError, match=r"no folder .*images\nPass data\.root="):
        Folder("/nowhere", "train")


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_folder_for_one_split_leaves_no_shares(tmp_path: Path, name: str) -> None:
    """Shares of all files would hold some of that folder's."""
    make_folder(tmp_path, count=6)
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / kind / name).mkdir()
        for i in (0, 1):
            (tmp_path / kind / f"photo {i}.{suffix}").rename(tmp_path / kind / name / f"photo {i}.{suffix}")
    assert names(Folder(str(tmp_path), name)) == ["photo 0", "photo 1"]
    for other in {"train", "val"} - {name}:
        with pytest.raises(UserError, match=f"there is no split '{other}'"):
            Folder(str(tmp_path), other)


def test_what_another_list_names_is_not_shared(tmp_path: Path) -> None:
    make_folder(tmp_path, count=30)
    (tmp_path / "test.txt").write_text("photo 3\nphoto 7.jpg\n")
    train, val = names(Folder(str(tmp_path), "train")), names(Folder(str(tmp_path), "val"))
    assert not {"photo 3", "photo 7"} & {*train, *val} and len(train) + len(val) == 28


def test_a_list_of_another_encoding_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, count=2)
    (tmp_path / "train.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match=r"train\.txt: the list cannot be read"):
        Folder(str(tmp_path), "train")


def test_a_photo_that_only_opencv_reads_and_a_mask_of_another_size(tmp_path: Path) -> None:
    make_folder(tmp_path, count=1)
    (tmp_path / "train.txt").write_text("photo 0\n")
    (tmp_path / "images" / "photo 0.jpg").unlink()
    write_tiff(tmp_path / "images" / "photo 0.tif", np.zeros((32, 48, 3), np.uint16), extra=[0, 0])
    with pytest.raises(SizeMismatch, match=r"photo 0\.tif is 48x32 but its mask .*photo 0\.png is 96x64$"):
        Folder(str(tmp_path), "train")[0]


def folder_of(root: Path, mask: np.ndarray, labels: Mapping[str, object]) -> Folder:
    """A data set of one training sample."""
    write(root / "images" / "a.png", photo(0, (mask.shape[0] * 8, mask.shape[1] * 8))[::8, ::8])
    write(root / "masks" / "a.png", mask)
    (root / "train.txt").write_text("a\n")
    (root / "labels.json").write_text(json.dumps(labels))
    return Folder(str(root), "train")


def entry(name: str, *color: int) -> object:
    return {"class": name, "color": color}


def test_ids_to_ignore(tmp_path: Path) -> None:
    labels = {"1": entry("cat", 200, 0, 0), "4": entry("dog", 0, 200, 0), "ignore": [0, 9, [0, 0, 0]]}
    dataset = folder_of(tmp_path, np.array([[0, 1, 4, 9, 255]], np.uint8), labels)
    assert dataset[0].mask.tolist() == [[255, 0, 1, 255, 255]]
    assert dataset.labels.names == ("cat", "dog") and dataset.labels_file is None
    colors = np.array([[(0, 0, 0), (200, 0, 0), (0, 200, 0), (255, 255, 255)]], np.uint8)
    assert folder_of(tmp_path, colors, labels)[0].mask.tolist() == [[255, 0, 1, 255]]
    grey = np.array([0, 1, 4, 9, 255], np.uint8).repeat(3).reshape(1, 5, 3)  # equal channels
    assert folder_of(tmp_path, grey, labels)[0].mask.tolist() == [[255, 0, 1, 255, 255]]


def test_255_may_be_a_class(tmp_path: Path) -> None:
    labels: dict[str, object] = {"0": entry("road", 0, 0, 0), "255": entry("car", 200, 0, 0)}
    for mask in (np.array([[0, 255]], np.uint8), np.array([[(0,) * 3, (255,) * 3]], np.uint8)):
        assert folder_of(tmp_path, mask, labels)[0].mask.tolist() == [[0, 1]]
    labels["ignore"] = [[255, 255, 255]]
    colors = np.array([[(0, 0, 0), (200, 0, 0), (255, 255, 255)]], np.uint8)
    assert folder_of(tmp_path, colors, labels)[0].mask.tolist() == [[0, 1, 255]]
    assert folder_of(tmp_path, np.array([[0, 255]], np.uint8), labels)[0].mask.tolist() == [[0, 1]]


def test_ids_above_255(tmp_path: Path) -> None:
    labels = {"0": entry("road", 0, 0, 0), "1000": entry("car", 9, 0, 0), "65534": entry("tree", 0, 9, 0)}
    mask = np.array([[0, 1000, 65534, 255]], np.uint16)
    dataset = folder_of(tmp_path, mask, labels)
    assert dataset[0].mask.tolist() == [[0, 1, 2, 255]] and dataset.labels.ids == (0, 1000, 65534)
    colors = np.array([[(0, 0, 0), (9, 0, 0), (0, 9, 0), (255, 255, 255)]], np.uint8)
    assert folder_of(tmp_path, colors, labels)[0].mask.tolist() == [[0, 1, 2, 255]]
    with pytest.raises(UserError, match="outside the label set: 1001, 1002"):
        folder_of(tmp_path, np.array([[0, 1002, 1001]], np.uint16), labels)[0]
    with pytest.raises(UserError, match=r"outside the label set: 300, 301, .*, 309 and 20 more"):
        folder_of(tmp_path, np.arange(300, 330, dtype=np.uint16)[None], {"0": entry("road", 0, 0, 0)})[0]
