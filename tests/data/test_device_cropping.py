"""Crops on a device against `data.cropping.RandomCrop`, which crops and scales with OpenCV, sample by sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from data.cropping import RandomCrop
from data.device_augmentation import DeviceAugmentation
from data.device_loading import DeviceTrainingLoader
from data.labels import LabelSet
from data.loading import TrainingLoader
from data.samples import Sample, SegmentationDataset
from tests.conftest import ROOT, TINY, runs_in
from tests.in_process import run_here
from train_segmentation import train
from utils.errors import UserError
from utils.run_folder import RunFolder

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]
CROP = (40, 56)


class Photos(SegmentationDataset):
    """Photos of noise in several sizes, with blocks of the ids 0 to 4."""

    labels = LabelSet(tuple("abcde"), tuple((i, i, i) for i in range(5)))

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        rng = np.random.default_rng(0)
        self.sizes = sizes
        self.images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
        self.masks = [rng.integers(0, 5, size, np.uint8) for size in sizes]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index], self.masks[index], self.name(index))

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]


def batch_of(
    photos: Photos, augmentation: DeviceAugmentation, seeds: range, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """All photos under each seed, as one batch of the size of the largest."""
    height, width = (max(sides) for sides in zip(*photos.sizes, strict=True))
    images = torch.full((len(photos), height, width, 3), 77, dtype=torch.uint8)
    masks = torch.full((len(photos), height, width), 3, dtype=torch.uint8)
    for index, (h, w) in enumerate(photos.sizes):
        images[index, :h, :w] = torch.from_numpy(photos.images[index])
        masks[index, :h, :w] = torch.from_numpy(photos.masks[index])
    images, masks = (pixels.repeat_interleave(len(seeds), 0).to(device) for pixels in (images, masks))
    drawn = [torch.from_numpy(augmentation.draw(seed, size)) for size in photos.sizes for seed in seeds]
    found, found_masks = augmentation(images.permute(0, 3, 1, 2), masks, torch.stack(drawn).to(device))
    return found.permute(0, 2, 3, 1).cpu().numpy(), found_masks.cpu().numpy()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale_range", [(0.5, 2.0), (0.3, 0.6), (1.0, 1.0), (2.0, 3.5)])
def test_equals_the_crops_of_the_cpu(scale_range: tuple[float, float], device: str) -> None:
    """Photos larger than the crop, equal to it, smaller, and narrower but higher: averaged, interpolated and padded."""
    photos = Photos([(100, 130), CROP, (24, 30), (90, 50)])
    crop = RandomCrop(crop_size=CROP, scale_range=scale_range)
    images, masks = batch_of(photos, DeviceAugmentation(crop, (0, 0)), range(20), device)
    samples = zip(photos.images, photos.masks, strict=True)
    expected = [crop(image, mask, seed) for image, mask in samples for seed in range(20)]
    assert (masks == 255).any() == any((mask == 255).any() for _, mask in expected)
    for image, mask, (expected_image, expected_mask) in zip(images, masks, expected, strict=True):
        np.testing.assert_array_equal(mask, expected_mask)
        assert np.abs(image - expected_image).max() <= 1.5  # OpenCV rounds, and interpolates with 11 bits


def test_the_shipped_list() -> None:
    """Crops are flipped and coloured as on the CPU. A picture without noise, in which rounding stays rounding."""
    photos = Photos([(100, 130)])
    photos.images = [cv2.GaussianBlur(photos.images[0], (0, 0), 4)]
    node = OmegaConf.load(ROOT / "conf" / "augmentation" / "crop.yaml")
    crop = instantiate(OmegaConf.create({"data": {"crop_size": list(CROP)}, "it": node}).it, _convert_="all")
    images, masks = batch_of(photos, DeviceAugmentation(crop, (0, 0)), range(30))
    for seed, (image, mask) in enumerate(zip(images, masks, strict=True)):
        expected, expected_mask = crop(photos.images[0], photos.masks[0], seed)
        np.testing.assert_array_equal(mask, expected_mask)
        assert np.abs(image - expected).mean() < 2


@pytest.mark.parametrize("keep", [True, False])
def test_batches_equal_those_of_the_usual_loader(keep: bool) -> None:
    photos, crop = Photos([(60, 70), (50, 90), (30, 30), (100, 60), (64, 64)]), RandomCrop(crop_size=CROP)
    options = {"image_size": CROP, "batch_size": 2, "seed": 3}
    usual = TrainingLoader(photos, crop, **options)  # type: ignore[arg-type]
    found = DeviceTrainingLoader(photos, crop, device=torch.device("cpu"), keep=keep, **options)  # type: ignore[arg-type]
    for one, other in zip(found, usual, strict=True):
        assert one.names == other.names
        assert torch.equal(one.masks, other.masks)
        assert (one.images - other.images.float()).abs().max() <= 1.5


def test_crops_chosen_by_classes() -> None:
    with pytest.raises(UserError, match=r"max_class_share: .* pass data.augment_on=cpu, and data.cache=ram"):
        DeviceAugmentation(RandomCrop(crop_size=CROP, max_class_share=0.75), (0, 0))


def test_a_run(tmp_path: Path) -> None:
    words = ("augmentation=crop", "data.crop_size=[32,32]", "data.cache=device", "trainer.epochs=1")
    done = run_here(train, "train", *TINY, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert RunFolder(runs_in(tmp_path)[0]).read_summary()["status"] == "finished"
