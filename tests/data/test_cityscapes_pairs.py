from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.cityscapes_labels import LABELS, train_ids
from data.cityscapes_pairs import CityscapesPairs, nearest_label
from tests.data.layouts import make_cityscapes_pairs, photo
from utils.errors import UserError

COLORS = np.array([label.color for label in LABELS], np.int64)
TRAIN_IDS = train_ids(20)[[label.id for label in LABELS]]


def exactly_nearest(colors: np.ndarray) -> np.ndarray:
    """By the distance to each label's colour, pixel by pixel."""
    return TRAIN_IDS[((colors.reshape(-1, 1, 3).astype(np.int64) - COLORS) ** 2).sum(-1).argmin(-1)]


def test_official_colours_give_their_labels() -> None:
    assert nearest_label(COLORS.astype(np.uint8)[None])[0].tolist() == exactly_nearest(COLORS).tolist()


def test_nearly_every_colour_gives_its_nearest_label() -> None:
    """Among colours such as JPEG leaves: near the official ones, and on the way from one to another."""
    rng = np.random.default_rng(0)
    a, b = rng.choice(COLORS, 20_000), rng.choice(COLORS, 20_000)
    between = a + (b - a) * rng.random((20_000, 1)) ** 6 + rng.normal(0, 2, (20_000, 3))
    colors = between.round().clip(0, 255).astype(np.uint8)
    assert (nearest_label(colors[None])[0] != exactly_nearest(colors)).mean() < 0.005


def test_compressed_pictures_are_decoded_as_by_the_exact_computation(tmp_path: Path) -> None:
    """On blocks of labels as large as in street scenes, of which JPEG blurs the borders."""
    rng = np.random.default_rng(1)
    wrong = total = 0
    for i in range(4):
        ids = rng.integers(0, 34, (8, 8)).repeat(32, 0).repeat(32, 1)
        both = np.concatenate([photo(i, (256, 256)), COLORS.astype(np.uint8)[ids]], 1)
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.fromarray(both).save(tmp_path / "train" / f"{i}.jpg", quality=75)
        mask = CityscapesPairs(str(tmp_path), "train")[i].mask
        decoded = cv2.imread(str(tmp_path / "train" / f"{i}.jpg"))
        assert decoded is not None
        colors = decoded[:, 256:, ::-1]
        wrong += int((mask.ravel() != exactly_nearest(colors)).sum())
        total += mask.size
    assert wrong / total < 0.001


def test_halves(tmp_path: Path) -> None:
    make_cityscapes_pairs(tmp_path, count=11)
    (tmp_path / "train" / "._1.jpg").write_bytes(b"what some systems leave")
    dataset = CityscapesPairs(str(tmp_path), "train")
    assert [dataset.name(i) for i in (0, 1, 9, 10)] == ["train/1.jpg", "train/2.jpg", "train/10.jpg", "train/11.jpg"]
    image, mask, _ = dataset[0]
    assert image.shape == (64, 64, 3) and mask.shape == dataset.size(0) == (64, 64)
    assert np.abs(image.astype(int) - photo(0, (64, 64))).mean() < 12
    assert len(dataset.labels) == 20 and set(np.unique(mask)) <= set(range(20))
    (tmp_path / "val" / "1.jpg").unlink()
    Image.fromarray(photo(0, (64, 40))).save(tmp_path / "val" / "1.jpg")
    with pytest.raises(UserError, match="is 40x64: a photo and its labels side by side"):
        CityscapesPairs(str(tmp_path), "val")[0]
    with pytest.raises(UserError, match="no split 'test'"):
        CityscapesPairs(str(tmp_path), "test")
    with pytest.raises(UserError, match=r"no folder .*nowhere"):
        CityscapesPairs("/nowhere", "train")
