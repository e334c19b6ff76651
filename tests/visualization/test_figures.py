"""Figures and legends of names, photos and disks of all kinds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib.font_manager import fontManager
from PIL import Image

import visualization.fonts
from data.labels import LabelSet
from tests.full_disk import largest_file
from utils.errors import UserError
from visualization.figures import (
    draw_calibration,
    draw_confusion,
    draw_curves,
    draw_predictions,
    draw_sheet,
    draw_speed,
)
from visualization.overlay import overlay, side_by_side
from visualization.sample_pictures import Predicted, write_samples

COLORS = ((0, 0, 0), (200, 0, 0), (0, 0, 200))
CHINESE = LabelSet(("background", "猫", "狗"), COLORS)
PLAIN = LabelSet(("background", "cat", "dog"), COLORS)
NUMBERED = LabelSet(("background", "class 1", "class 2"), COLORS)
NO_WARNINGS = pytest.mark.filterwarnings("error")
"""Such as those of matplotlib of each missing glyph."""


@pytest.fixture(autouse=True)
def fresh_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No font beside matplotlib's own, and no warning yet."""
    own = matplotlib.get_data_path()
    with matplotlib.rc_context():
        monkeypatch.setattr(visualization.fonts, "_warned", False)
        monkeypatch.setattr(visualization.fonts, "findSystemFonts", list)
        monkeypatch.setattr(fontManager, "ttflist", [f for f in fontManager.ttflist if f.fname.startswith(own)])
        visualization.fonts.font_for.cache_clear()
        visualization.fonts._installed.cache_clear()
        yield
    visualization.fonts.font_for.cache_clear()
    visualization.fonts._installed.cache_clear()


def make_font(path: Path, characters: str) -> Path:
    """A font whose glyphs are all filled squares."""
    pen = TTGlyphPen(None)
    for step, point in enumerate(((0, 0), (0, 800), (800, 800), (800, 0))):
        (pen.lineTo if step else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    names = {ord(character): f"u{ord(character):04x}" for character in characters}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    font.setupGlyf({".notdef": square, **dict.fromkeys(names.values(), square)})
    font.setupHorizontalMetrics({".notdef": (1000, 0), **dict.fromkeys(names.values(), (1000, 0))})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(path)
    return path


def sample(name: str = "a", size: tuple[int, int] = (40, 50)) -> Predicted:
    rng = np.random.default_rng(0)
    image, truth = rng.integers(0, 256, (*size, 3)).astype(np.uint8), rng.integers(0, 3, size).astype(np.uint8)
    return Predicted(0, name, image, truth, truth[::-1].copy())


def every_figure(labels: LabelSet, folder: Path, name: str = "a") -> None:
    """All figures that show names of classes, files or runs."""
    one = sample(name)
    draw_confusion(np.eye(3, dtype=np.int64), labels, name, folder / "confusion.png")
    draw_predictions([one], labels, folder / "predictions.png")
    draw_sheet([(one.name, one.image, one.truth)], labels, name, folder / "sheet.png")
    column = f"val/iou/{labels.names[1]}"
    draw_curves([{"epoch": 1, "train/loss": 1.0, column: 0.5}], column, 1, folder / "curves.png")
    draw_speed([(name, 0.5, {"eager": 1.0})], name, folder / "speed.png")
    draw_calibration(np.ones((3, 4)), 0.0, name, folder / "calibration.png")
    overlay(one.image, one.truth, labels).save(folder / "overlay.png")
    side_by_side(one.image, one.truth, labels).save(folder / "side_by_side.png")


@NO_WARNINGS
def test_names_that_no_font_has_are_numbers_and_one_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tmp_path / "expected"
    for folder in (tmp_path / "found", expected):
        folder.mkdir()
    every_figure(CHINESE, tmp_path / "found")
    (record,) = caplog.records
    assert "numbers instead of 2 class names, such as 猫" in record.getMessage()
    labels, one = NUMBERED, sample()
    draw_confusion(np.eye(3, dtype=np.int64), labels, "a", expected / "confusion.png")
    assert (tmp_path / "found" / "confusion.png").read_bytes() == (expected / "confusion.png").read_bytes()
    np.testing.assert_array_equal(
        np.asarray(overlay(one.image, one.truth, CHINESE)), np.asarray(overlay(one.image, one.truth, NUMBERED))
    )


@NO_WARNINGS
def test_names_of_files_that_no_font_has_leave_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    every_figure(PLAIN, tmp_path, "照片/\x1b[2J\udcff\n猫.jpg")
    assert caplog.records == []


@NO_WARNINGS
def test_an_installed_font_that_has_the_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one without Latin letters or digits, that was installed after matplotlib made its list."""
    path = make_font(tmp_path / "squares.ttf", "猫狗")
    monkeypatch.setattr(visualization.fonts, "findSystemFonts", lambda: [str(path)])
    every_figure(CHINESE, tmp_path, "猫 a.jpg")
    assert caplog.records == []
    assert visualization.fonts.drawn_class_names(CHINESE.names) == ["background", "猫", "狗"]
    assert visualization.fonts.drawn_text("猫 a.jpg") == "猫 a.jpg"
    # The legend of the overlay: of one class, a black square of 0.8 of the font's size right of the colour's.
    width, size = 450, 11
    picture = np.asarray(overlay(np.zeros((20, width, 3), np.uint8), np.ones((20, width), np.uint8), CHINESE))
    glyph = picture[20:, int(1.5 * size + size / 2) : int(2.5 * size + size / 2)]
    rows, columns = np.nonzero((glyph < 128).all(2))
    assert len(rows) == pytest.approx((0.8 * size) ** 2, abs=2 * size)
    assert np.ptp(rows) + 1 == pytest.approx(0.8 * size, abs=1) and np.ptp(columns) + 1 == pytest.approx(8.8, abs=1)


def test_letters_beyond_ascii_are_drawn_in_overlays() -> None:
    """Pillow's own font has boxes for most of them."""
    one = sample()
    pictures = [
        np.asarray(overlay(one.image, one.truth, LabelSet(("background", name, "dog"), COLORS)))
        for name in ("größe", "gräße", "Жук", "Жак")
    ]
    for i in (0, 2):
        assert (pictures[i] != pictures[i + 1]).any()


DRAWN: dict[str, Callable[[Path], None]] = {
    "confusion": lambda path: draw_confusion(np.eye(3, dtype=np.int64), PLAIN, "title", path),
    "predictions": lambda path: draw_predictions([sample()], PLAIN, path),
    "sheet": lambda path: draw_sheet([("a", sample().image, sample().truth)], PLAIN, "title", path),
    "samples": lambda path: write_samples([sample(size=(400, 400))], PLAIN, path.parent / "samples"),
}


@pytest.mark.parametrize("what", DRAWN)
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, what: str) -> None:
    DRAWN[what](tmp_path / "whole" / "figure.png")
    largest = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    with largest_file(largest - 10), pytest.raises(UserError, match=r"cannot be written \(File too large\)"):
        DRAWN[what](tmp_path / "new" / "figure.png")
    for path in (tmp_path / "new").rglob("*.*g"):  # what was smaller
        with Image.open(path) as picture:
            picture.load()
        assert what == "samples"


@pytest.mark.parametrize("what", DRAWN)
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*: the folder cannot be made \(Not a directory\)"):
        DRAWN[what](tmp_path / "file" / "new" / "figure.png")


def test_a_figure_of_many_samples_is_at_most_a_little_taller_than_twice_its_width(tmp_path: Path) -> None:
    one = sample(size=(40, 40))
    draw_predictions([one] * 7, PLAIN, tmp_path / "seven.png")
    draw_predictions([one] * 16, PLAIN, tmp_path / "many.png")
    sizes = [Image.open(tmp_path / name).size for name in ("seven.png", "many.png")]
    assert sizes[0] == sizes[1] and sizes[0][1] < 2.2 * sizes[0][0]


def test_the_legend_of_a_tiny_photo_is_not_cut() -> None:
    """White beside the photo leaves room for the longest entry, which is drawn as on a wide photo."""
    masks = [np.full((5, width), 1, np.uint8) for width in (5, 200)]
    tiny, wide = (np.asarray(overlay(np.zeros((*mask.shape, 3), np.uint8), mask, PLAIN)) for mask in masks)
    inked = np.flatnonzero((wide[5:] < 255).any((0, 2)))
    assert 60 < inked[-1] < tiny.shape[1] < 200
    assert np.array_equal(tiny[5:, : inked[-1] + 1], wide[5:, : inked[-1] + 1])
    assert (tiny[:5, 5:] == 255).all()


@pytest.mark.parametrize("size", [(2000, 1), (2, 70_000)])
def test_photos_of_odd_shapes_make_figures_of_usual_size(tmp_path: Path, size: tuple[int, int]) -> None:
    many = [sample(size=size) for _ in range(3)]
    draw_predictions(many, PLAIN, tmp_path / "predictions.png")
    draw_sheet([("a", one.image, one.truth) for one in many], PLAIN, "title", tmp_path / "sheet.png")
    write_samples(many[:1], PLAIN, tmp_path)
    for path in tmp_path.glob("*.*g"):
        with Image.open(path) as picture:
            assert picture.width * picture.height <= 1600 * 4000, path


@pytest.mark.parametrize("classes", [2, 3, 11, 12, 40])
def test_long_titles_are_not_cut_off(tmp_path: Path, classes: int) -> None:
    title = "val_ensemble12-1c9d3f2e_root-WWW-1c9d3f2e_1024x2048_flip_multiscale_window512x512_overlap0.5"
    labels = LabelSet(tuple(map(str, range(classes))), ((0, 0, 0),) * classes)
    draw_calibration(np.ones((3, 4)), 0.0123, f"{title}: calibration", tmp_path / "calibration.png")
    counts = np.eye(classes, dtype=np.int64)
    draw_confusion(counts, labels, f"{title}: mIoU 0.5000, pixel accuracy 0.9000", tmp_path / "confusion.png")
    for name in ("calibration", "confusion"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert (pixels[:, [0, 1, 2, -3, -2, -1]] == 255).all() and (pixels[[0, -1]] == 255).all(), name


def test_any_number_of_pictures_fits_into_a_figure(tmp_path: Path) -> None:
    """A side of 2**16 pixels is too much for matplotlib."""
    one = sample(size=(60, 20))
    draw_sheet([("a", one.image, one.truth)] * 20, PLAIN, "title", tmp_path / "sheet.png", columns=1)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert 19_900 <= picture.height <= 20_000
