"""Crops at the resolution of the photos, against NumPy and Pillow."""

from pathlib import Path
from typing import Any
from unittest import mock

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image

from data.checking import checked_samples
from data.cropping import RandomCrop
from data.loading import TrainingBatch, TrainingLoader
from data.samples import Sample
from data.voc import VOC
from tests.conftest import TINY, runs_in
from tests.data.layouts import blocks, make_voc, photo, write
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train
from utils.errors import UserError

FILL = (124, 116, 104)


def places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose pixels hold their row and column, and a mask that holds the row."""
    rows, columns = np.indices((height, width)).astype(np.uint8)
    return np.stack([rows, columns, np.full_like(rows, 7)], 2), rows


def test_without_scaling_a_crop_is_a_part_of_the_photo() -> None:
    image, mask = places(60, 80)
    crop, corners = RandomCrop(crop_size=(32, 48), scale_range=(1, 1)), set()
    for seed in range(300):
        found, found_mask = crop(image, mask, seed)
        top, left = found[0, 0, :2].tolist()
        np.testing.assert_array_equal(found, image[top : top + 32, left : left + 48])
        np.testing.assert_array_equal(found_mask, mask[top : top + 32, left : left + 48])
        corners.add((top, left))
    tops, lefts = zip(*corners, strict=True)
    assert (min(tops), max(tops), min(lefts), max(lefts)) == (0, 28, 0, 32)  # every place is possible


def test_a_transform_that_fails_names_the_sample(tmp_path: Path) -> None:
    """Also where only a part of a photo is decoded; a file that cannot be read stays what it is."""
    make_voc(tmp_path)
    samples = VOC(str(tmp_path), "train")
    assert samples.reads_parts
    crop = RandomCrop([A.Lambda(image=lambda image, **_: image[1000], p=1)], crop_size=(32, 32))
    with pytest.raises(UserError, match=f"augmentation: fails on {samples.name(1)}: IndexError: index 1000 is out of"):
        crop.sample(samples, 1, 0)
    with (
        mock.patch.object(VOC, "image_part", side_effect=OSError("a fault of the disk")),
        pytest.raises(OSError, match="a fault of the disk"),
    ):
        crop.sample(samples, 1, 0)


def test_enlarged_by_two() -> None:
    """As Pillow enlarges the whole photo, except at the edges of the crop, where Pillow sees the pixels beyond."""
    smooth = np.asarray(Image.fromarray(photo(0, (64, 96))).resize((96, 64), Image.Resampling.BICUBIC))
    _, rows = places(64, 96)
    large = np.asarray(Image.fromarray(smooth).resize((192, 128), Image.Resampling.BILINEAR)).astype(int)
    crop = RandomCrop(crop_size=(64, 64), scale_range=(2, 2))
    for seed in range(20):
        found, found_rows = crop(smooth, rows, seed)
        top = int(found_rows[0, 0])
        np.testing.assert_array_equal(found_rows, np.repeat(np.arange(top, top + 32), 2)[:, None].repeat(64, 1))
        fits = [
            np.abs(found[1:-1, 1:-1] - large[2 * top + 1 : 2 * top + 63, 2 * left + 1 : 2 * left + 63]).max()
            for left in range(65)
        ]
        assert min(fits) <= 1


def test_halved_and_padded() -> None:
    """A crop of 48x48 at half the size shows 96x96 pixels, of which a photo of 40x60 covers 20x30."""
    image, _ = places(40, 60)
    image = image & 0xFE  # so that means of two rows or columns are whole numbers below them
    crop = RandomCrop(crop_size=(48, 48), scale_range=(0.5, 0.5))
    corners = set()
    for seed in range(200):
        found, mask = crop(image, np.full((40, 60), 3, np.uint8), seed)
        inside = mask == 3
        assert set(np.unique(mask)) == {3, 255}
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        top, left, height, width = rows[0], columns[0], len(rows), len(columns)
        assert abs(height - 20) <= 1 and abs(width - 30) <= 1
        core = found[top + 1 : top + height - 1, left + 1 : left + width - 1]  # means of 2x2, or of two rows of them
        assert np.abs(core[:, :, 0] - core[:1, :, 0] - 2 * np.arange(len(core))[:, None]).max() <= 1
        outside = ~inside
        outside[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1] = False
        assert (found[outside] == FILL).all()
        corners.add((int(top), int(left)))
    tops, lefts = zip(*corners, strict=True)
    assert min(tops) <= 1 and max(tops) >= 27 and min(lefts) <= 1 and max(lefts) >= 17


def test_scales_are_uniform() -> None:
    """The step from one column of the photo to the next tells the scale."""
    image, mask = np.zeros((200, 240, 3), np.uint8), np.indices((200, 240))[1].astype(np.uint8)
    crop = RandomCrop(crop_size=(64, 64), scale_range=(0.5, 2))
    shown = [crop(image, mask, seed)[1] for seed in range(800)]
    scales = np.array([64 / (int(m[0, -1]) - int(m[0, 0]) + 1) for m in shown])
    assert scales.min() > 0.48 and scales.max() < 2.1
    shares = np.histogram(scales, [0.48, 0.875, 1.25, 1.625, 2.1])[0] / 800
    assert np.abs(shares - 0.25).max() < 0.06  # four standard deviations


def test_no_class_fills_a_crop() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 50:] = 1
    mask[:, 60:70] = 255
    image = np.zeros((100, 100, 3), np.uint8)

    def exceeding(limit: float | None) -> int:
        crop = RandomCrop(crop_size=(40, 40), scale_range=(1, 1), max_class_share=limit)
        count = 0
        for seed in range(200):
            values, pixels = np.unique(crop(image, mask, seed)[1], return_counts=True)
            labelled = pixels[values != 255]
            count += bool(labelled.max() > 0.75 * labelled.sum())
        return count

    assert exceeding(None) > 100
    assert exceeding(0.75) < 10
    whole = RandomCrop(crop_size=(40, 40), max_class_share=0.75)  # a photo of one class is cropped all the same
    assert (whole(image, np.zeros_like(mask), 0)[1] != 1).all()


def test_a_crop_is_a_function_of_its_seed() -> None:
    image, mask = places(90, 120)
    transforms = [A.HorizontalFlip(p=0.5), A.ColorJitter(p=0.5)]
    crop = RandomCrop(transforms, crop_size=(48, 64))
    first = [crop(image, mask, seed) for seed in range(30)]
    fresh = RandomCrop(transforms, crop_size=(48, 64))
    for seed in reversed(range(30)):
        for one, other in zip(first[seed], fresh(image, mask, seed), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len({pixels.tobytes() for pixels, _ in first}) == 30


def test_a_flip_does_not_depend_on_the_scale() -> None:
    """With the same random numbers for both, large crops would all be flipped, or none."""
    image, mask = np.zeros((200, 200, 3), np.uint8), np.indices((200, 200))[1].astype(np.uint8)
    crop = RandomCrop([A.HorizontalFlip(p=0.5)], crop_size=(64, 64))
    steps = np.array([np.subtract(*crop(image, mask, seed)[1][0, [-1, 0]].astype(int)) for seed in range(400)])
    large = np.abs(steps) > np.median(np.abs(steps))
    for part in (large, ~large):
        assert 0.35 < (steps[part] < 0).mean() < 0.65


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pascal VOC with photos of two sizes."""
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    folder = make_voc(tmp_path / "voc") / "VOCdevkit" / "VOC2012"
    write(folder / "JPEGImages" / "2007_000001.jpg", photo(1, (104, 72)))
    write(folder / "SegmentationClass" / "2007_000001.png", blocks(1, [*range(21), 255], (104, 72)))
    return tmp_path / "voc"


def batches(root: Path, cache: Any = "none", workers: int = 0, start: int = 0) -> list[TrainingBatch]:
    samples = checked_samples(VOC(str(root), "train"), "train", None, masks=True, cache=cache)
    crop = RandomCrop([A.HorizontalFlip(p=0.5)], crop_size=(40, 56))
    loader = TrainingLoader(samples, crop, image_size=(40, 56), batch_size=2, seed=3, num_workers=workers)
    loader.order.epoch, loader.order.start = 1, start
    return list(loader)


@pytest.mark.parametrize(("cache", "workers"), [("ram", 0), ("disk", 0), ("disk", 1), ("none", 2)])
def test_neither_cache_nor_workers_change_a_crop(root: Path, cache: str, workers: int) -> None:
    expected = batches(root)
    assert [tuple(batch.images.shape) for batch in expected] == [(2, 3, 40, 56)] * 2
    for _ in range(2):  # the second time from the cache
        found = batches(root, cache, workers)
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)
            assert one.names == other.names
    (last,) = batches(root, cache, workers, start=1)
    assert torch.equal(last.images, expected[1].images)


def test_crops_are_made_of_the_photos_as_they_are(root: Path) -> None:
    dataset = VOC(str(root), "train")
    samples = checked_samples(dataset, "train", None, masks=True, cache="ram")
    for index in range(4):
        for _ in range(2):
            np.testing.assert_array_equal(samples[index].image, dataset[index].image)
            np.testing.assert_array_equal(samples[index].mask, dataset[index].mask)
    assert samples.size(1) == (104, 72) and samples.size(0) == (64, 96)


class Brightened(VOC):
    """Changes the photos and masks that it reads, which crops of files' rows would not see."""

    def __getitem__(self, index: int) -> Sample:
        image, mask, name = super().__getitem__(index)
        return Sample(image // 2 + 100, np.where(mask == 1, 2, mask), name)


def test_crops_of_a_data_set_that_changes_what_it_reads(root: Path) -> None:
    dataset = Brightened(str(root), "train")
    assert VOC.reads_parts and not dataset.reads_parts
    samples = checked_samples(dataset, "train", None, masks=True)
    crop = RandomCrop(crop_size=(40, 56), scale_range=(1.0, 1.0), pad=False)
    image, mask, _ = crop.sample(samples, 0, seed=0)
    assert image.min() >= 100 and not (mask == 1).any()
    assert (dataset.mask(0) == dataset[0].mask).all() and dataset.size(1) == (104, 72)


def test_without_padding_every_photo_must_be_large_enough(root: Path) -> None:
    samples = checked_samples(VOC(str(root), "train"), "train", None, masks=True)
    RandomCrop(crop_size=(64, 72), scale_range=(1, 2), pad=False).check(samples)
    crop = RandomCrop(crop_size=(64, 72), scale_range=(0.5, 2), pad=False)
    with pytest.raises(UserError, match=r"crop_size=\[64, 72\]: larger than .*000000.jpg of 64x96 .* from 1\.00"):
        crop.check(samples)


def test_with_padding_a_crop_that_no_photo_fills_is_warned_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = checked_samples(VOC(str(root), "train"), "train", None, masks=True)
    RandomCrop(crop_size=(128, 192), scale_range=(0.5, 2)).check(samples)
    assert not caplog.messages
    RandomCrop(crop_size=(640, 720)).check(samples)  # of 64x96
    (message,) = caplog.messages
    assert "data.crop_size=[640, 720]: larger than " in message and "scale_range to 10.00; every crop" in message


WORDS = ("data=voc", "augmentation=crop", "trainer.epochs=1", *TINY)


def test_a_run_with_crops(root: Path, tmp_path: Path) -> None:
    words = (f"data.root={root}", "data.crop_size=[48,40]", "data.cache=ram", "augmentation.max_class_share=0.75")
    succeeded(run_here(train, "train", *WORDS, *words, cwd=tmp_path))
    assert len(runs_in(tmp_path)) == 1


MISTAKES = [
    ("data.crop_size=[640,640] augmentation.pad=false", ["data.crop_size=[640, 640]", "augmentation.pad=true"]),
    ("data.crop_size=[48,40] augmentation=standard", ["data.crop_size=[48, 40]", "needs augmentation=crop"]),
    ("data.cache=device augmentation.max_class_share=0.75", ["max_class_share", "data.cache=ram instead of device"]),
    ("data.augment_on=device augmentation.max_class_share=0.75", ["max_class_share", "pass data.augment_on=cpu"]),
    ("augmentation.scale_range=[2,1]", ["augmentation.scale_range=[2, 1]", "a smaller and a larger"]),
    ("augmentation.max_class_share=1.5", ["augmentation.max_class_share=1.5", "at most 1"]),
]


@pytest.mark.parametrize(("words", "fragments"), MISTAKES)
def test_mistakes(root: Path, tmp_path: Path, words: str, fragments: list[str]) -> None:
    option = () if "augmentation=" in words else ("augmentation=crop",)
    words_of_run = ("data=voc", *option, "trainer.epochs=1", *TINY, f"data.root={root}", *words.split())
    assert_refused(run_here(train, "train", *words_of_run, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []
