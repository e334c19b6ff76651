import logging
import os
from pathlib import Path

import pytest

from data.images import IMAGE_SUFFIXES
from inference.inputs import described, found_below, listed_in, matches_of, only_images
from inference.plan import plan_photos
from utils.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_what_is_read_and_what_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["a.jpg", "b.JFIF", "c.gif", "d.jp2", "e.png", "f.ppm"]
    make(tmp_path, *names, "notes.txt", "sub/more.txt", "scan.pdf", "IMG_1.raw", "README", ".hidden.xyz")
    with caplog.at_level(logging.INFO):
        assert [path.name for path in found_below(tmp_path)] == names
    assert caplog.messages == [
        "skipped 5 other files: 2 .txt (such as notes.txt), 1 .pdf (scan.pdf), 1 .raw (IMG_1.raw), 1 without suffix"
        " (README)"
    ]


def test_heic_is_read_where_there_is_a_reader() -> None:
    assert (".heic" in IMAGE_SUFFIXES) == bool(only_images([Path("a.heic")]))
    assert described([Path("b.heic")]) == "1 other file: 1 .heic (b.heic; pip install pillow-heif to read it)"


def test_many_kinds_are_counted() -> None:
    told = described([Path(f"a.x{i}") for i in range(30)])
    assert told.startswith("30 other files: 1 .x0 (a.x0), ") and told.endswith(", 22 more kinds")
    assert described([]) == ""


@pytest.mark.parametrize("key", ["input", "images"])
def test_a_folder_without_images_says_what_it_holds(tmp_path: Path, key: str) -> None:
    make(tmp_path, "a.pdf")
    with pytest.raises(
        UserError, match=rf"{key}=.*: there are no images in this folder; it contains 1 other file: 1 \.pdf"
    ):
        found_below(tmp_path, key=key)


def test_folders_are_walked_as_for_training(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg", ".ipynb_checkpoints/a.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg")
    for name in ("loop", "sub/up", "sub/up again"):  # 2 ** 40 paths
        (tmp_path / name).symlink_to(tmp_path)
    expected = [tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg"]
    assert found_below(tmp_path) == expected
    assert matches_of(tmp_path / "**" / "*.jpg") == expected
    assert matches_of(tmp_path / "*" / "*.jpg") == [tmp_path / "loop" / "a.jpg", tmp_path / "sub" / "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.jpg", ["a.jpg", "x/b.jpg", "x/y/c.jpg"]),
        ("x/**/*.jpg", ["x/b.jpg", "x/y/c.jpg"]),
        ("**/y/*", ["x/y/c.jpg", "x/y/d.png"]),
        ("**/[bd].*", ["x/b.jpg", "x/y/d.png"]),
        ("x/**", ["x/b.jpg", "x/y/c.jpg", "x/y/d.png"]),
        ("*/*.jpg", ["x/b.jpg"]),
        ("?.jpg", ["a.jpg"]),
        ("none/**/*.jpg", []),
    ],
)
def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]) -> None:
    make(tmp_path, "a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/d.png")
    monkeypatch.chdir(tmp_path)
    assert [path.as_posix() for path in matches_of(Path(pattern))] == found
    assert matches_of(tmp_path / pattern) == [tmp_path / name for name in found]


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "photos [1]/a.jpg", "photos 1/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert matches_of(Path("photos [1]/*.jpg")) == [Path("photos [1]/a.jpg")]
    assert matches_of(Path("photos [1]/**/*.jpg")) == [Path("photos [1]/a.jpg")]
    assert matches_of(Path("photos [12]/*.jpg")) == [Path("photos 1/b.jpg")]


def test_lists_of_other_encodings(tmp_path: Path) -> None:
    make(tmp_path, "größe.jpg")
    (tmp_path / "list.txt").write_text("größe.jpg\r\n" + "x" * 5000, encoding="utf-16")
    assert listed_in(tmp_path / "list.txt")[0] == tmp_path / "größe.jpg"


def test_lines_of_lists(tmp_path: Path) -> None:
    """Paths in quotes, of Windows, and with characters that mean something else in a list, if there is such a file."""
    make(tmp_path, "a.jpg", "b c.jpg", "#1.jpg", "sub/d.jpg", "'e'")
    lines = ["# of Monday", "#1.jpg", "'b c.jpg'", '"a.jpg"', "sub\\d.jpg", ".\\a.jpg", "'e'", "gone\\f.jpg", "a\0.jpg"]
    (tmp_path / "list.txt").write_text("\r\n".join(lines))
    names = ["#1.jpg", "b c.jpg", "a.jpg", "sub/d.jpg", "'e'", "gone\\f.jpg", "a\0.jpg"]
    assert listed_in(tmp_path / "list.txt") == [tmp_path / name for name in names]
    (tmp_path / "list.txt").write_text("# nothing else\n")
    with pytest.raises(UserError, match="the list is empty"):
        listed_in(tmp_path / "list.txt")


@pytest.mark.parametrize("given", ["", "*.jpg", "list.txt"])
def test_a_link_to_itself_is_a_photo_that_cannot_be_read(tmp_path: Path, given: str) -> None:
    (make(tmp_path, "a.jpg") / "b.jpg").symlink_to("b.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n")
    planned = plan_photos(str(tmp_path / given), str(tmp_path / "out"), ["mask"])
    assert [photo.path.name for photo in planned] == ["a.jpg", "b.jpg"]


def test_names_that_outputs_cannot_have(tmp_path: Path) -> None:
    """Told before anything is computed."""
    make(tmp_path, f"{'x' * 245}.jpg")
    plan_photos(str(tmp_path), str(tmp_path / "out"), ["mask"])
    with pytest.raises(UserError, match="File name too long; use a shorter one"):
        plan_photos(str(tmp_path), str(tmp_path / "out"), ["mask", "side_by_side"])


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for given in (tmp_path / "a.jpg", tmp_path / "list.txt"):
        if given.suffix == ".txt":
            os.mkfifo(given)
        with pytest.raises(UserError, match="it is a named pipe, not a file"):
            plan_photos(str(given), None, ["mask"])
