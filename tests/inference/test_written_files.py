from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.labels import LabelSet
from inference.pictures import LARGEST_OVERLAY, shrunk, write_files
from inference.predictor import Prediction
from inference.video import VideoWriter
from tests.full_disk import largest_file
from utils.errors import UserError
from visualization.overlay import side_by_side

LABELS = LabelSet(("road", "car", "misc"), ((128, 64, 128), (0, 0, 142), (9, 9, 9)), (7, 26, 7))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
MASK = RNG.integers(0, 3, (40, 60), np.uint8)
FOUND = Prediction(MASK, None, None)


def written(tmp_path: Path, kind: str, found: Prediction = FOUND, own_ids: bool = False) -> Path:
    path = tmp_path / "x.png"
    write_files({kind: path}, IMAGE, found, LABELS, own_ids)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]  # nothing temporary is left
    return path


def test_masks_hold_class_indices_or_the_data_sets_own_ids(tmp_path: Path) -> None:
    picture = Image.open(written(tmp_path, "mask"))
    assert picture.mode == "P" and np.array_equal(np.asarray(picture), MASK)
    picture = Image.open(written(tmp_path, "mask", own_ids=True))
    assert np.array_equal(np.asarray(picture), np.where(MASK == 1, 26, 7))
    palette = np.array(picture.getpalette()).reshape(-1, 3)
    assert palette[7].tolist() == [128, 64, 128] and palette[26].tolist() == [0, 0, 142]


def test_a_video_on_a_full_disk_keeps_the_one_before(tmp_path: Path) -> None:
    """OpenCV reports nothing; what it has written cannot be played."""
    (tmp_path / "x.mp4").write_text("before")
    message = r"x\.mp4: the video cannot be written; the disk may be full"
    with pytest.raises(UserError, match=message), largest_file(10_000), VideoWriter(tmp_path / "x.mp4", 25.0) as video:
        for _ in range(9):
            video.add(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.mp4", "before")]


def test_a_video_with_a_name_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.mp4"
    with VideoWriter(path, 25.0) as video:
        video.add(IMAGE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_of_more_pixels_than_the_codec_takes(tmp_path: Path) -> None:
    message = r"x\.mp4: a video of 8192x16 pixels cannot be written"
    with pytest.raises(UserError, match=message), VideoWriter(tmp_path / "x.mp4", 25.0) as video:
        video.add(np.zeros((16, 8192, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_own_ids_above_255_are_grey_values_of_16_bits(tmp_path: Path) -> None:
    labels = LabelSet(LABELS.names, LABELS.colors, (0, 300, 65534))
    write_files({"mask": tmp_path / "x.png"}, IMAGE, FOUND, labels, own_ids=True)
    picture = Image.open(tmp_path / "x.png")
    assert picture.mode == "I;16"
    assert np.array_equal(np.asarray(picture), np.select([MASK == 0, MASK == 1], [0, 300], 65534))


def test_colors(tmp_path: Path) -> None:
    found = np.asarray(Image.open(written(tmp_path, "color")))
    for i, color in enumerate(LABELS.colors):
        assert (found[i == MASK] == color).all()


def test_probabilities_and_uncertainty(tmp_path: Path) -> None:
    probabilities = RNG.random((3, 40, 60), np.float32)
    stored = np.load(written(tmp_path, "probabilities", FOUND._replace(probabilities=probabilities)))
    np.testing.assert_allclose(stored["probabilities"], probabilities, atol=1e-3)
    assert stored["classes"].tolist() == list(LABELS.names)
    uncertainty = RNG.random((40, 60), np.float32)
    grey = np.asarray(Image.open(written(tmp_path, "uncertainty", FOUND._replace(uncertainty=uncertainty))))
    assert np.abs(grey / 255 - uncertainty).max() <= 0.5 / 255 + 1e-6


def test_side_by_side_holds_the_photo_and_the_colours() -> None:
    picture = np.asarray(side_by_side(IMAGE, MASK, LABELS))
    assert picture.shape[1] == 120 and picture.shape[0] > 40
    assert np.array_equal(picture[:40, :60], IMAGE)
    assert np.array_equal(picture[:40, 60:], LABELS.palette()[MASK])
    wide = np.asarray(side_by_side(IMAGE[:20], MASK[:20], LABELS))
    assert wide.shape[1] < 120 and np.array_equal(wide[20:40, :60], LABELS.palette()[MASK[:20]])


def test_pictures_for_people_are_no_larger_than_they_can_see() -> None:
    image = np.zeros((100, 2 * LARGEST_OVERLAY, 3), np.uint8)
    small, mask = shrunk(image, image[..., 0])
    assert small.shape == (50, LARGEST_OVERLAY, 3) and mask.shape == (50, LARGEST_OVERLAY)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone is gone: it was moved or deleted"):
        write_files({"mask": tmp_path / "gone" / "x.png"}, IMAGE, FOUND, LABELS)


@pytest.mark.parametrize("ids", [None, (7, 20, 33), (0, 300, 65534)])
@pytest.mark.parametrize("kind", ["mask", "color", "overlay", "side_by_side", "uncertainty", "probabilities"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, kind: str, ids: tuple[int, ...] | None) -> None:
    found = Prediction(MASK, RNG.random(MASK.shape, np.float32), RNG.random((3, *MASK.shape), np.float32))
    path, labels = tmp_path / "x.png", LabelSet(LABELS.names, LABELS.colors, ids)
    write_files({kind: path}, IMAGE, found, labels, own_ids=ids is not None)
    size = path.stat().st_size
    path.unlink()
    with largest_file(size - 10), pytest.raises(UserError, match=r"x\.png: cannot be written \(File too large\)"):
        write_files({kind: path}, IMAGE, found, labels, own_ids=ids is not None)
    assert list(tmp_path.iterdir()) == []
