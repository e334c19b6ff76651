import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from inference.pipeline import BUDGET
from inference.plan import Photo, is_camera, pixels, plan_photos, plan_video, still_to_write
from utils.errors import UserError

BOTH = ["mask", "overlay"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/{a.jpg, sub/{a.jpg, b.PNG}, sub/.hidden/c.jpg, notes.txt}"""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "sub/a.jpg", "sub/b.PNG", "sub/.hidden/c.jpg", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def files(plan: list[Photo], kind: str = "mask") -> dict[str, str]:
    """Photo -> file, as paths relative to the working directory."""
    here = Path.cwd()
    return {str(p.path.absolute().relative_to(here)): str(p.outputs[kind].absolute().relative_to(here)) for p in plan}


def test_a_folder_is_mirrored(photos: Path) -> None:
    assert files(plan_photos("photos", None, BOTH)) == {
        "photos/a.jpg": "photos_masks/a.png",
        "photos/sub/a.jpg": "photos_masks/sub/a.png",
        "photos/sub/b.PNG": "photos_masks/sub/b.png",
    }
    assert files(plan_photos("photos", "out", BOTH), "overlay")["photos/sub/a.jpg"] == "out/sub/a_overlay.png"


def test_what_an_earlier_run_wrote_into_a_folder_is_not_read(photos: Path) -> None:
    (photos / "photos" / "masks").mkdir()
    (photos / "photos" / "masks" / "a.png").touch()
    assert "photos/masks/a.png" not in files(plan_photos("photos", "photos/masks", ["mask"]))


def test_the_output_may_be_a_folder_above(photos: Path) -> None:
    assert files(plan_photos("photos/sub", ".", ["mask"])) == {"photos/sub/a.jpg": "a.png", "photos/sub/b.PNG": "b.png"}


def test_results_beside_single_photos_are_not_read(photos: Path) -> None:
    """Those of any format, but no other photo with such an ending."""
    before = [photo.path for photo in plan_photos("photos", None, BOTH)]
    for name in ("a_mask.png", "a_overlay.png", "a_side_by_side.png", "a_uncertainty.png", "z_mask.png"):
        shutil.copy(photos / "photos" / "a.jpg", photos / "photos" / name)
    found = [photo.path for photo in plan_photos("photos", None, BOTH)]
    assert sorted(found) == sorted([*before, Path("photos/z_mask.png")])


def test_patterns_and_lists(photos: Path) -> None:
    assert files(plan_photos("photos/**/*.jpg", None, BOTH)) == {
        "photos/a.jpg": "photos/a_mask.png",
        "photos/sub/a.jpg": "photos/sub/a_mask.png",
    }
    assert files(plan_photos("photos/**/*.jpg", "out", BOTH))["photos/sub/a.jpg"] == "out/sub/a.png"
    (photos / "photos" / "list.txt").write_text("# of the photos\na.jpg\n\nphotos/sub/b.PNG\n")
    assert files(plan_photos("photos/list.txt", "out", BOTH)) == {
        "photos/a.jpg": "out/a.png",
        "photos/sub/b.PNG": "out/sub/b.png",
    }


def test_one_photo_and_its_names(photos: Path) -> None:
    (one,) = plan_photos("photos/a.jpg", "x.png", ["mask", "color", "probabilities"])
    assert {kind: path.name for kind, path in one.outputs.items()} == {
        "mask": "x.png",
        "color": "x_color.png",
        "probabilities": "x_probabilities.npz",
    }
    (one,) = plan_photos("photos/a.jpg", "x.npz", ["probabilities"])
    assert one.outputs == {"probabilities": Path("x.npz")}
    (one,) = plan_photos("photos/a.jpg", "x.png", ["color", "uncertainty"])
    assert one.outputs == {"color": Path("x.png"), "uncertainty": Path("x_uncertainty.png")}


@pytest.mark.parametrize(
    ("given", "output", "fragment"),
    [
        ("nothing.jpg", None, "no such file or folder"),
        ("photos/*.tif", None, "photos/*.tif: no image matches"),
        ("photos/*.txt", None, "no image matches; it matches 1 other file: 1 .txt (notes.txt)"),
        ("photos/sub/.hidden/empty", None, "no images"),
        ("photos/notes.txt", None, "the list is empty"),
        ("a.jpg,b.jpg", None, "no such file or folder; pass several as a folder, a pattern"),
        ("prose.txt", None, "none of its 2 lines is the path of a file, such as "),
        ("photos/a.jpg", "x.jpg", "mask is written as .png"),
        ("photos", "x.png", "must be a folder"),
        ("photos/*.jpg", "photos/a.jpg", "must be a folder"),
    ],
)
def test_mistakes(photos: Path, given: str, output: str | None, fragment: str) -> None:
    (photos / "photos/sub/.hidden/empty").mkdir()
    (photos / "prose.txt").write_text("hello\nworld\n")
    with pytest.raises(UserError) as caught:
        plan_photos(given, output, BOTH)
    assert fragment in str(caught.value)


def test_videos(photos: Path) -> None:
    assert plan_video("drive.avi", None, BOTH) == {"mask": Path("drive_masks"), "overlay": Path("drive_overlay.mp4")}
    assert plan_video("0", None, ["overlay"]) == {"overlay": Path("camera_overlay.mp4")}
    assert plan_video("drive.avi", "out.mp4", ["overlay"]) == {"overlay": Path("out.mp4")}
    assert plan_video("drive.avi", "new/folder", BOTH) == {
        "mask": Path("new/folder/drive_masks"),
        "overlay": Path("new/folder/drive_overlay.mp4"),
    }
    for source, output, formats, fragment in [
        ("a.mp4", None, ["probabilities"], "only for photos"),
        ("a.mp4", "b.avi", ["overlay"], "must be an .mp4"),
        ("a.mp4", "a.mp4", ["overlay"], "this is the input video"),
    ]:
        with pytest.raises(UserError) as caught:
            plan_video(source, output, formats)
        assert fragment in str(caught.value)


@pytest.fixture
def forbidden() -> Iterator[Path]:
    """A folder with a photo that this user may read and not write to, as somebody else where this is root."""
    folder = Path(tempfile.mkdtemp())
    (folder / "a.jpg").touch()
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("source", ["gr\udcfcn.mp4", "drive.mp4"])
def test_a_video_whose_path_is_not_utf_8(photos: Path, source: str) -> None:
    with pytest.raises(UserError, match="the path of a video must be valid UTF-8; rename it"):
        plan_video(source, None if source != "drive.mp4" else "gr\udcfcn.mp4", ["overlay"])


def test_a_folder_without_permission_to_write(forbidden: Path) -> None:
    """Told before anything is computed: masks beside the photo, in a folder of their own there, and a video."""
    for output in (None, str(forbidden / "masks")):
        with pytest.raises(UserError, match="nothing can be written there") as caught:
            plan_photos(str(forbidden / "*.jpg"), output, BOTH)
        assert str(forbidden) in str(caught.value) and "Permission denied" in str(caught.value)
    with pytest.raises(UserError, match="Permission denied"):
        plan_video(str(forbidden / "drive.mp4"), None, ["overlay"])


def test_a_list_with_parents_stays_below_the_output(photos: Path) -> None:
    """Of photos in this folder's parents, too; `..` is part of no name."""
    (photos / "lists").mkdir()
    (photos / "lists" / "all.txt").write_text("../photos/a.jpg\n../photos/sub/b.PNG\n")
    (photos / "lists" / "one.txt").write_text("../photos/sub/../a.jpg\nlists/../photos/sub/a.jpg\n")
    expected = {"a.jpg": "out/a.png", "b.PNG": "out/sub/b.png"}
    plan = plan_photos("lists/all.txt", "out", ["mask"])
    assert {photo.path.name: str(photo.outputs["mask"]) for photo in plan} == expected
    assert all(photo.path.is_file() for photo in plan)
    plan = plan_photos("lists/one.txt", "out", ["mask"])
    assert [str(photo.outputs["mask"]) for photo in plan] == ["out/a.png", "out/sub/a.png"]


def test_two_spellings_of_a_file_are_one(photos: Path) -> None:
    (photos / "photos" / "a.png").touch()
    (photos / "photos" / "list.txt").write_text("a.jpg\nsub/../a.png\n")
    with pytest.raises(UserError, match="would be written for two images"):
        plan_photos("photos/list.txt", None, ["mask"])


def test_what_photos_weigh(tmp_path: Path) -> None:
    """One beyond Pillow's limit its pixels, and one of unknown size as much as all that may be held."""
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert pixels(tmp_path / "huge.png") == 200_000_000
    assert pixels(tmp_path / "broken.png") == pixels(tmp_path / "missing.png") == BUDGET


def test_what_is_still_to_write(photos: Path) -> None:
    (photos / "photos_masks/sub").mkdir(parents=True)
    for name in ("a.png", "a_overlay.png", "sub/a.png"):
        (photos / "photos_masks" / name).touch()
    plan = still_to_write(plan_photos("photos", None, BOTH))
    assert [(str(photo.path), sorted(photo.outputs)) for photo in plan] == [
        ("photos/sub/a.jpg", ["overlay"]),
        ("photos/sub/b.PNG", ["mask", "overlay"]),
    ]


def test_a_camera_is_a_number_that_is_no_file(photos: Path) -> None:
    (photos / "2012").mkdir()
    (photos / "2012" / "a.jpg").touch()
    assert [given for given in ("0", "12", "2012", "\N{SUPERSCRIPT TWO}", "1.5", "-1", "") if is_camera(given)] == [
        "0",
        "12",
    ]
    assert plan_video("0", "photos", ["overlay"]) == {"overlay": Path("photos/camera_overlay.mp4")}
    assert files(plan_photos("2012", None, ["mask"])) == {"2012/a.jpg": "2012_masks/a.png"}


@pytest.mark.parametrize("output", [None, "g/masks", "g/sub/../masks/"])
def test_a_pattern_matches_no_earlier_outputs(photos: Path, output: str | None) -> None:
    for name in ("a.png", "b.jpg", "sub/a.png", "sub/a_b.png"):
        path = photos / "g" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    first = plan_photos("g/**/*.*", output, BOTH)
    assert [str(photo.path) for photo in first] == ["g/a.png", "g/b.jpg", "g/sub/a.png", "g/sub/a_b.png"]
    for photo in first:
        for path in photo.outputs.values():
            path.touch()
    assert plan_photos("g/**/*.*", output, BOTH) == first
    assert plan_photos(str(photos / "g/**/*.*"), output, BOTH)[0].path == photos / "g/a.png"


def test_a_pattern_in_the_output_itself_replaces_no_photo(photos: Path) -> None:
    (photos / "photos" / "a.png").touch()
    with pytest.raises(UserError, match="would be written for two images"):
        plan_photos("photos/*", "photos", ["mask"])
    with pytest.raises(UserError, match="this is an input image"):
        plan_photos("photos/*.png", "photos", ["mask"])


def test_a_folder_called_like_a_photo_is_none(photos: Path) -> None:
    (photos / "photos" / "x.png").mkdir()
    (photos / "photos" / "x.png" / "y.jpg").touch()
    expected = ["photos/a.jpg", "photos/sub/a.jpg", "photos/sub/b.PNG", "photos/x.png/y.jpg"]
    for given in ("photos", "photos/**"):
        assert sorted(files(plan_photos(given, "out", ["mask"]))) == expected
    assert plan_photos("photos/x.png", None, ["mask"])[0].path.name == "y.jpg"


@pytest.mark.parametrize("output", ["photos/sub", "new", "new/", "new/deep", "new.d/", ".new"])
def test_one_photo_into_a_folder(photos: Path, output: str) -> None:
    folder = Path(output)
    (one,) = plan_photos("photos/a.jpg", output, BOTH)
    assert one.outputs == {"mask": folder / "a.png", "overlay": folder / "a_overlay.png"}
    (one,) = plan_photos("photos/a.jpg", output, ["probabilities"])
    assert one.outputs == {"probabilities": folder / "a.npz"}
    assert folder.is_dir()


def test_an_empty_output_is_none(photos: Path) -> None:
    for given in ("photos", "photos/a.jpg", "photos/*.jpg"):
        assert plan_photos(given, "", BOTH) == plan_photos(given, None, BOTH)


def test_a_file_is_no_folder_to_write_to(photos: Path) -> None:
    (photos / "taken").touch()
    with pytest.raises(UserError, match="taken: nothing can be written there"):
        plan_photos("photos/a.jpg", "taken", BOTH)


def test_a_list_of_windows_with_a_photo_twice(photos: Path) -> None:
    """Its first line begins with a byte order mark, and a path is in quotes, as `Copy as path` writes it."""
    lines = 'a.jpg\r\n"sub/b.PNG"\r\nsub/../a.jpg\r\nphotos/sub/b.PNG\r\nsub/a.jpg\r\n'
    (photos / "photos" / "list.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    plan = plan_photos("photos/list.txt", "out", ["mask"])
    assert [str(photo.path) for photo in plan] == ["photos/a.jpg", "photos/sub/b.PNG", "photos/sub/a.jpg"]
    assert [str(photo.outputs["mask"]) for photo in plan] == ["out/a.png", "out/sub/b.png", "out/sub/a.png"]
