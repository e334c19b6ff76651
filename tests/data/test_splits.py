"""How images find their masks, and samples their splits. The files are empty: nothing is decoded."""

import json
import os
import zlib
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from PIL import Image

from data.checking import checked_samples
from data.folder import Folder
from data.images import IMAGE_SUFFIXES
from data.splits import held_out
from utils.errors import Unreadable, UserError

LABELS = {str(i): {"class": name, "color": [i, 0, 0]} for i, name in enumerate(("road", "car"))}


def make(root: Path, *files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for folder in ("images", "masks"):
        (root / folder).mkdir(exist_ok=True)
    (root / "labels.json").write_text(json.dumps(LABELS))
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def numbered(root: Path, count: int) -> Path:
    return make(root, *(f"{kind}/{i:03}.png" for i in range(count) for kind in ("images", "masks")))


def pairs(root: Path, split: str = "train") -> list[tuple[str, str]]:
    dataset = Folder(str(root), split)
    assert not dataset.faults, [str(fault) for fault in dataset.faults]
    both = [[os.path.relpath(path, root) for path in dataset.files(i)] for i in range(len(dataset))]
    return [(image, mask) for image, mask in both]


def faults(root: Path, split: str = "train") -> list[str]:
    return [str(fault).replace(f"{root}/", "") for fault in Folder(str(root), split).faults]


@pytest.mark.parametrize(
    "line",
    [
        *("a/001", "a/001.png", "images/a/001.png", "./images/a/001.png", "images\\a\\001.png", "masks/a/001.png"),
        *("images/a/001.png masks/a/001.png", "images/a/001.png\tmasks/a/001.png", "images/a/001.png,masks/a/001.png"),
        *("'images/a/001.png','masks/a/001.png'", "'images/a/001.png'", '"images/a/001.png"'),
        *('"images/a/001.png"; "masks/a/001.png"', "a/001 a/001", "{root}/images/a/001.png {root}/masks/a/001.png"),
    ],
)
def test_lines_of_lists(tmp_path: Path, line: str) -> None:
    root = make(tmp_path / "set", "images/a/001.png", "masks/a/001.png", "images/a/002.png", "masks/a/002.png")
    (root / "train.txt").write_text(line.format(root=root) + "\n")
    assert pairs(root) == [("images/a/001.png", "masks/a/001.png")]


def test_comments_in_lists(tmp_path: Path) -> None:
    root = make(tmp_path, "images/#1.png", "masks/#1.png", "images/2.png", "masks/2.png")
    (root / "train.txt").write_text("# those of the first day\n#1\n2.png\n#3\n")
    assert pairs(root) == [("images/#1.png", "masks/#1.png"), ("images/2.png", "masks/2.png")]


def test_two_columns_pair_any_names(tmp_path: Path) -> None:
    root = make(tmp_path, "images/left 1.png", "masks/0 1.png", "photos/x.jpg", "truth/x_y.png")
    (root / "train.txt").write_text("images/left 1.png masks/0 1.png\nphotos/x.jpg truth/x_y.png\n")
    assert pairs(root) == [("images/left 1.png", "masks/0 1.png"), ("photos/x.jpg", "truth/x_y.png")]


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "valid"), ("Train", "Val"), ("training", "validation"), ("TRAINING", "Validation"), ("Training", "val")],
)
def test_the_names_of_splits(tmp_path: Path, train: str, val: str) -> None:
    """In folders, which may differ for images and masks, and in lists; `data.train_split` has them, too."""
    files = [
        f"{kind}/{name}/{i}.png"
        for i, name in enumerate((train, train, val, "Testing"))
        for kind in ("images", "masks")
    ]
    root = make(tmp_path / "folders", *files, "images/extra/9.png", "masks/extra/9.png")
    (root / "masks" / train).rename(root / "masks" / train.lower())
    found = {
        split: [image for image, _ in pairs(root, split)] for split in ("train", "Train", "val", "test", "validation")
    }
    expected = [f"images/{train}/0.png", f"images/{train}/1.png"]
    assert found["train"] == found["Train"] == expected and found["test"] == ["images/Testing/3.png"]
    assert found["val"] == found["validation"] == [f"images/{val}/2.png"]
    root = numbered(tmp_path / "lists", 9)
    (root / f"{train}.txt").write_text("000\n001\n")
    (root / f"{val}.TXT").write_text("002\n")
    assert [len(pairs(root, split)) for split in ("train", "training", "val", "VALID")] == [2, 2, 1, 1]
    with pytest.raises(UserError, match="there is no split 'test'"):
        pairs(root, "test")


@pytest.mark.parametrize("names", [("val", "valid"), ("train", "training"), ("Test", "test")])
def test_two_names_of_one_split(tmp_path: Path, names: tuple[str, str]) -> None:
    root = make(tmp_path / "folders", *(f"{kind}/{name}/1.png" for kind in ("images", "masks") for name in names))
    one, other = sorted(names)
    for split in ("train", names[0]):
        with pytest.raises(
            UserError, match=rf"images/{one} and .*images/{other}: which of them .*Rename or remove one"
        ):
            Folder(str(root), split)
    root = numbered(tmp_path / "lists", 5)
    for name in names:
        (root / f"{name}.txt").write_text("001\n")
    with pytest.raises(UserError, match=rf"lists/{one}\.txt and .*lists/{other}\.txt: which of them"):
        Folder(str(root), names[0])


def test_lists_of_all_photos_divide_nothing(tmp_path: Path) -> None:
    root = numbered(tmp_path, 10)
    for name in ("files.txt", "images.txt", "trainval.TXT"):
        (root / name).write_text("".join(f"{i:03}\n" for i in range(10)))
    assert [len(pairs(root, split)) for split in ("train", "val")] == [8, 2]
    assert len(pairs(root, "trainval")) == 10
    (root / "test.txt").write_text("003\n")
    assert len(pairs(root)) + len(pairs(root, "val")) == 9
    for name, numbers in (("test.txt", range(10)), ("trainval.TXT", range(1, 10))):
        (root / name).write_text("".join(f"{i:03}\n" for i in numbers))
    with pytest.raises(
        UserError, match=r"no photo is left for 'train', because test\.txt and trainval\.TXT list all .*train\.txt"
    ):
        pairs(root)


def test_absolute_paths_through_links(tmp_path: Path) -> None:
    """Of the root, of its folders, and in the list."""
    real = make(tmp_path / "disk" / "set", "masks/a/1.png", "images/cam/2.png", "masks/cam/2.png")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.png").touch()
    (real / "images" / "a").symlink_to(tmp_path / "photos" / "a")
    link, other = tmp_path / "link", tmp_path / "disk" / "other"
    link.symlink_to(real)
    other.symlink_to(real)
    first, second = ("images/a/1.png", "masks/a/1.png"), ("images/cam/2.png", "masks/cam/2.png")
    for root, listed in ((link, real), (real, link), (link, other), (link, link)):
        lines = [f"{listed}/images/cam/2.png", f"{listed}/images/a/1.png {listed}/masks/a/1.png"]
        (real / "train.txt").write_text("\n".join(lines))
        assert pairs(root) == [first, second]
    (real / "images" / "a").unlink()
    (real / "images").rename(tmp_path / "elsewhere")
    (real / "images").symlink_to(tmp_path / "elsewhere")
    for listed in (real / "images", tmp_path / "elsewhere"):
        (real / "train.txt").write_text(f"{listed}/cam/2.png\n")
        assert pairs(link) == [second]


@pytest.mark.parametrize("place", ["{root}//images/1.png", "{root}/./images/1.png", "{root}/images//1.png"])
def test_absolute_paths_with_a_needless_part(tmp_path: Path, place: str) -> None:
    """As programs write them that join a root with a slash at its end."""
    root = make(tmp_path, "images/1.png", "masks/1.png")
    (root / "train.txt").write_text(place.format(root=root))
    assert pairs(root) == [("images/1.png", "masks/1.png")]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_absolute_paths_below_a_composed_or_decomposed_root(tmp_path: Path, forms: tuple[Any, Any]) -> None:
    there, listed = (tmp_path / normalize(form, "größe") for form in forms)
    root = make(there, "images/1.png", "masks/1.png")
    (root / "train.txt").write_text(f"{listed}/images/1.png", encoding="utf-8")
    assert pairs(root) == [("images/1.png", "masks/1.png")]


def test_absolute_paths_outside_the_root(tmp_path: Path) -> None:
    make(tmp_path / "disk" / "set", "images/1.png", "masks/1.png")
    other = make(tmp_path / "more" / "other", "images/1.png", "masks/1.png", "images/2.png", "masks/2.png")
    root = tmp_path / "link"  # a link, so that its parent is not that of the folder
    root.symlink_to(tmp_path / "disk" / "set")
    (root / "train.txt").write_text(
        f"{other}/images/1.png {other}/masks/1.png\n{other}/images/2.png,{other}/masks/2.png"
    )
    dataset = Folder(str(root), "train")
    assert [Path(path).resolve() for i in range(2) for path in dataset.files(i)] == [
        other / kind / f"{i}.png" for i in (1, 2) for kind in ("images", "masks")
    ]
    assert all(Path(path).is_file() for path in dataset.files(0)) and not dataset.faults
    (root / "train.txt").write_text(f"{other}/images/1.png\n{other}/images/2.png {other}/masks/9.png\n{other}/\0 x")
    found = " ".join(faults(root))
    assert "other/images/1.png, for which there is no mask; list it in the same line" in found
    assert "but there is no mask " in found and "masks/9.png" in found and "there is no such file" in found
    (root / "train.txt").write_text("1")
    (tmp_path / "disk" / "set" / "masks" / "1.png").unlink()
    dataset = Folder(str(root), "train", masks=str(other / "masks"))
    assert not dataset.faults and Path(dataset.files(0)[1]).resolve() == other / "masks" / "1.png"


def test_a_suffix_in_a_list_chooses_among_files_of_one_stem(tmp_path: Path) -> None:
    root = make(tmp_path, "images/1.png", "images/1.jpg", "masks/1.png")
    (root / "train.txt").write_text("1.jpg\n")
    assert pairs(root) == [("images/1.jpg", "masks/1.png")]


def test_lists_inside_the_folder_of_their_split(tmp_path: Path) -> None:
    root = make(tmp_path, *(f"{kind}/train/{i}.png" for i in range(3) for kind in ("images", "masks")))
    (root / "train.txt").write_text("images/train/1.png\n2\n")
    assert [image for image, _ in pairs(root)] == ["images/train/1.png", "images/train/2.png"]


@pytest.mark.parametrize("line", ["images/images/1.png", "{root}/images/images/1.png", "images/1 masks/images/1.png"])
def test_a_folder_of_images_in_another_of_this_name(tmp_path: Path, line: str) -> None:
    root = make(tmp_path, *(f"{kind}/{name}.png" for name in ("1", "images/1") for kind in ("images", "masks")))
    (root / "train.txt").write_text(line.format(root=root))
    assert pairs(root) == [("images/images/1.png", "masks/images/1.png")]


def test_a_list_of_windows_in_utf_16(tmp_path: Path) -> None:
    root = make(tmp_path, "images/größe.png", "masks/größe.png")
    (root / "train.txt").write_text("images/größe.png\r\n", encoding="utf-16")
    assert pairs(root) == [("images/größe.png", "masks/größe.png")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "images/9.png",
            "train.txt lists images/9.png, but there is no such file; a line is an image, or an image and",
        ),
        (
            "/home/ann/other/1.png",
            "but there is no such file; found images/1.png instead; a line is an image, or an image and its mask",
        ),
        ("images/1.png masks/1.jpg", "train.txt lists the mask masks/1.jpg, whose compression changes class ids"),
        ("images/1.png masks/1.npy", "train.txt lists the mask masks/1.npy, which is none of .png, .bmp"),
        ("images/1.png masks/1.pgm", "train.txt lists the mask masks/1.pgm, which is none of .png, .bmp"),
        ("1 masks/2.png\n1", "train.txt lists two masks for 1; remove one of the lines"),
        ("x" * 5000, "but there is no such file"),
    ],
)
def test_lines_that_name_nothing(tmp_path: Path, line: str, words: str) -> None:
    root = make(tmp_path, *(f"{kind}/{i}.png" for i in (1, 2) for kind in ("images", "masks")))
    make(root, "masks/1.jpg", "masks/1.npy", "masks/1.pgm")
    (root / "train.txt").write_text(line)
    (fault,) = faults(root)
    assert words in fault


@pytest.mark.parametrize("text", ["", "\n\n", "# none yet\n"])
def test_empty_lists_are_named(tmp_path: Path, text: str) -> None:
    root = numbered(tmp_path, 4)
    (root / "train.txt").write_text(text)
    with pytest.raises(UserError, match=r"train\.txt: the list of the split is empty"):
        Folder(str(root), "train")


def test_what_lists_of_other_splits_name_by_paths_is_not_shared(tmp_path: Path) -> None:
    root = numbered(tmp_path, 30)
    (root / "test.txt").write_text("images/003.png masks/003.png\n./images/007.png\n")
    (root / "README.txt").write_bytes("Größe: 1 2 3\n".encode("latin-1"))
    named = {image for split in ("train", "val") for image, _ in pairs(root, split)}
    assert named == {f"images/{i:03}.png" for i in range(30)} - {"images/003.png", "images/007.png"}


def test_names_composed_and_decomposed(tmp_path: Path) -> None:
    """As macOS writes them, and as other systems do."""
    image, mask = normalize("NFD", "größe é"), normalize("NFC", "größe é")
    root = make(tmp_path, f"images/{image}.png", f"masks/{mask}.png")
    for line in (image, mask):
        (root / "train.txt").write_text(line)
        assert pairs(root) == [(f"images/{image}.png", f"masks/{mask}.png")]


def test_lists_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All photos are divided by their names, which may put those of a list for validation into the training."""
    root = numbered(tmp_path, 4)
    lists = ("splits/train.txt", "ImageSets/Segmentation/valid.txt", "val.csv", "val.json")
    for path in (*lists, ".hidden/train.txt", "images/notes.txt"):
        make(root, path)
    Folder(str(root), "train"), Folder(str(root), "val")
    assert [record.getMessage() for record in caplog.records] == [
        f"{root}/splits/train.txt is not read as a list: data.train_split=splits/train reads it",
        f"{root}/ImageSets/Segmentation/valid.txt is not read as a list:"
        " data.val_split=ImageSets/Segmentation/valid reads it",
        f"{root}/val.csv is not read as a list: only .txt files with one photo per line are",
        f"{root}/val.json is not read as a list: only .txt files with one photo per line are",
    ]
    (root / "splits" / "train.txt").write_text("001\n")
    assert pairs(root, "splits/train") == [("images/001.png", "masks/001.png")]
    caplog.clear()
    (root / "train.txt").write_text("001\n")
    assert pairs(root) == [("images/001.png", "masks/001.png")] and not caplog.records


def test_folders_and_endings_composed_and_decomposed(tmp_path: Path) -> None:
    root = make(tmp_path / normalize("NFD", "größe"), "images/é/1.png", normalize("NFD", "masks/é/1_ä.png"))
    assert Folder(str(root), "all", mask_suffix=normalize("NFC", "_ä")).faults == []
    make(root, "masks/é/1.png")
    for form in ("NFC", "NFD"):
        (root / "train.txt").write_text(f"{root}/images/{normalize(form, 'é')}/1.png")
        assert Folder(str(root), "train").name(0) == "images/é/1.png"


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        *(("1.png", "1_mask.png"), ("1.jpg", "1_label.png"), ("a/1.png", "a/1-seg.png"), ("IMG_1.JPG", "img_1.png")),
        *(("img_1.png", "mask_1.png"), ("1_image.png", "1_gt.png"), ("größe.png", "größe_Mask.png")),
    ],
)
def test_words_that_tell_masks_from_images(tmp_path: Path, image: str, mask: str) -> None:
    root = make(tmp_path, f"images/{image}", f"masks/{mask}", "images/0.png", "masks/0.png")
    (root / "train.txt").write_text(f"{Path(image).with_suffix('')}\n0\n")
    assert set(pairs(root)) == {(f"images/{image}", f"masks/{mask}"), ("images/0.png", "masks/0.png")}


def test_words_without_lists(tmp_path: Path) -> None:
    root = make(tmp_path, *(f"images/{i}.jpg" for i in range(10)), *(f"masks/{i}_mask.png" for i in range(10)))
    found = sorted(pairs(root) + pairs(root, "val"))
    assert found == [(f"images/{i}.jpg", f"masks/{i}_mask.png") for i in range(10)]


def test_what_is_ambiguous_is_not_matched(tmp_path: Path) -> None:
    root = make(tmp_path, "images/train/1.png", "masks/train/1_mask.png", "masks/train/1_label.png")
    assert faults(root) == [
        "images/train/1.png: there is no mask of this name for it; found masks/train/1_label.png and"
        " masks/train/1_mask.png instead",
        *(
            f"masks/train/1_{word}.png: there is no image of this name for it; found images/train/1.png instead"
            for word in ("label", "mask")
        ),
    ]
    # The image of 1 is missing, and 1_dog is another one's name.
    root = make(tmp_path / "other", "images/train/1.png", "masks/train/1_dog.png")
    assert faults(root)[0] == (
        "images/train/1.png: there is no mask of this name for it; without a partner there: masks/train/1_dog.png"
    )


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("1.jpg", "found masks/train/1.jpg, whose compression changes class ids; save the masks as PNG"),
        ("1_mask.JPEG", "found masks/train/1_mask.JPEG, whose compression"),
        ("1.npy", "found masks/train/1.npy, which is none of .png, .bmp"),
        ("sub/1.png", "found masks/train/sub/1.png instead"),
    ],
)
def test_what_was_found_instead_of_a_mask(tmp_path: Path, mask: str, words: str) -> None:
    root = make(tmp_path, "images/train/1.png", f"masks/train/{mask}")
    assert faults(root)[0].startswith(f"images/train/1.png: there is no mask of this name for it; {words}")


def test_what_was_found_instead_of_an_image(tmp_path: Path) -> None:
    root = make(tmp_path, "images/train/1.psd", "masks/train/1.png")
    (fault,) = faults(root)
    assert fault.startswith("masks/train/1.png: there is no image of this name for it; found images/train/1.psd, which")


@pytest.mark.skipif(".heic" in IMAGE_SUFFIXES, reason="pillow-heif is installed")
def test_photos_that_need_a_package(tmp_path: Path) -> None:
    root = make(tmp_path, "images/train/1.HEIC", "masks/train/1.png")
    (fault,) = faults(root)
    assert fault.endswith("found images/train/1.HEIC: pip install pillow-heif to read it, or save it as JPEG or PNG")


def test_hidden_folders_and_links(tmp_path: Path) -> None:
    root = numbered(tmp_path, 5)
    for kind in ("images", "masks"):
        for hidden in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
            make(root, f"{kind}/{hidden}/001-copy.png")
        (root / kind / "loop").symlink_to(root / kind)
    assert sorted(pairs(root) + pairs(root, "val")) == [(f"images/{i:03}.png", f"masks/{i:03}.png") for i in range(5)]


@pytest.mark.parametrize("pattern", ["{:06}", "frame_{:06}", "Image_{}", "{}"])
@pytest.mark.parametrize("count", [2, 3, 5, 7, 10, 19, 50, 99])
def test_small_sets_are_near_the_share(pattern: str, count: int) -> None:
    stems = {pattern.format(i) for i in range(count)}
    assert abs(len(held_out(stems, 0.2)) - 0.2 * count) <= max(0.05 * count + 0.5, 0.8)
    assert len(held_out(stems, 0.01)) >= 1 and len(held_out(stems, 0.999)) <= count - 1
    if count < 20:
        assert len(held_out(stems, 0.2)) == max(round(0.2 * count), 1)


def test_the_lowest_numbers_are_held_out() -> None:
    stems = [f"{i:06}" for i in range(10)]
    assert held_out(set(stems), 0.2) == set(sorted(stems, key=lambda stem: zlib.crc32(stem.encode()))[:2])


def test_large_sets_stay_divided() -> None:
    """Whatever comes or goes."""
    stems = {f"frame_{i:06}" for i in range(20_000)}
    expected = {stem for stem in stems if zlib.crc32(stem.encode()) < 0.2 * 2**32}
    for count in (2_000, 5_000, 20_000):
        some = {f"frame_{i:06}" for i in range(count)}
        assert held_out(some, 0.2) == some & expected


def test_one_image_cannot_be_divided(tmp_path: Path) -> None:
    root = numbered(tmp_path, 1)
    for split in ("train", "val"):
        with pytest.raises(UserError, match=r"one image cannot be divided .* list it in train\.txt and val\.txt"):
            Folder(str(root), split)


@pytest.mark.parametrize("share", [0.0, 1.0, 5.0, -0.2, float("nan")])
def test_shares_that_divide_nothing(tmp_path: Path, share: float) -> None:
    with pytest.raises(UserError, match=r"data\.val_share=.*: must be above 0 and below 1"):
        Folder(str(numbered(tmp_path, 10)), "train", val_share=share)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    root = numbered(tmp_path, 10)
    os.mkfifo(root / "train.txt")
    with pytest.raises(UserError, match=r"train\.txt: it is a named pipe"):
        Folder(str(root), "train")
    (root / "train.txt").rename(root / "test.txt")
    with pytest.raises(UserError, match=r"test\.txt: cannot be read \(it is a named pipe"):
        Folder(str(root), "train")
    (root / "test.txt").unlink()
    (root / "labels.json").unlink()
    os.mkfifo(root / "labels.json")
    with pytest.raises(UserError, match=r"labels\.json: .*it is a named pipe"):
        Folder(str(root), "train")


def test_pipes_in_place_of_images_and_masks(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        root = make(tmp_path / kind, "images/train/1.png", "masks/train/1.png")
        for other in ("images", "masks"):
            Image.new("L", (4, 4)).save(root / other / "train" / "1.png")
        (root / kind / "train" / "1.png").unlink()
        os.mkfifo(root / kind / "train" / "1.png")
        with pytest.raises(Unreadable, match=rf"{kind}/train/1\.png: cannot be read \(it is a named pipe"):
            checked_samples(Folder(str(root), "train"), "train", None, masks=True)


def test_a_folder_called_as_a_list(tmp_path: Path) -> None:
    root = numbered(tmp_path, 5)
    (root / "old.txt").mkdir()
    assert len(pairs(root)) == 4
