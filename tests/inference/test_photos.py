"""Folders of photos, whatever works on them at the same time."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import inference.photos
from data.images import read_image
from data.labels import LabelSet
from engine.normalization import Normalization
from inference.photos import segment
from inference.plan import plan_photos
from inference.predictor import Predictor
from utils.errors import UserError

LABELS = LabelSet(("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
RNG = np.random.default_rng(0)


class Watched(nn.Module):
    """Notes the threads it is called in, and how many at the same time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 3, 1))
        self.callers: set[int] = set()
        self.cores: set[int] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.callers.add(threading.get_ident())
        self.cores.add(torch.get_num_threads())
        return self.network(images)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(7):
        Image.fromarray(RNG.integers(0, 256, (30 + i, 50, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "3b.jpg").write_bytes(b"no photo")
    return folder


def predictor(**settings: int) -> Predictor:
    return Predictor(Watched().eval(), LABELS, (32, 40), Normalization(), **settings)  # type: ignore[arg-type]


def test_photos_side_by_side_have_the_masks_that_each_has_alone(tmp_path: Path, photos: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network = predictor()
        masks: list[np.ndarray | None] = []
        broken = segment(plan_photos(str(photos), str(tmp_path / "out"), ["mask"]), network, after_photo=masks.append)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len(broken) == 1 and "3b.jpg" in str(broken[0]) and masks[4] is None
    assert isinstance(network.model, Watched)
    assert threading.get_ident() not in network.model.callers and network.model.cores == {1}
    for i, mask in enumerate(m for m in masks if m is not None):
        expected = predictor().predict(read_image(photos / f"{i}.png"))
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i}.png")), expected)


def test_samples_are_drawn_in_the_order_of_the_photos(tmp_path: Path, photos: Path) -> None:
    """In threads, chance would fall upon another photo each time."""
    found = []
    for name in ("first", "second"):
        torch.manual_seed(3)
        segment(plan_photos(str(photos), str(tmp_path / name), ["mask", "uncertainty"]), predictor(samples=3))
        found.append([(tmp_path / name / f"{i}_uncertainty.png").read_bytes() for i in range(7)])
    assert found[0] == found[1]


def test_what_cannot_be_written_ends_it(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise UserError("3.png: cannot be written (No space left on device)")

    monkeypatch.setattr(inference.photos, "write_files", full)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for samples in (1, 2):  # side by side, and in turn
            with pytest.raises(UserError, match="No space left"):
                segment(plan_photos(str(photos), str(tmp_path / "out"), ["mask"]), predictor(samples=samples))
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_one_thread_has_one_photo_at_a_time(tmp_path: Path, photos: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = predictor()
        segment(plan_photos(str(photos), str(tmp_path / "out"), ["mask"]), network)
    finally:
        torch.set_num_threads(threads)
    assert isinstance(network.model, Watched) and network.model.callers == {threading.get_ident()}


def test_photos_of_another_range_are_one_warning(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in photos.glob("[012].png"):
        Image.fromarray(read_image(path) // 16).save(path)
    segment(plan_photos(str(photos), str(tmp_path / "out"), ["mask"]), predictor())
    assert len(caplog.messages) == 1
    assert re.match(rf"{re.escape(str(photos))}/[012].png and 2 more: nearly black", caplog.messages[0])
