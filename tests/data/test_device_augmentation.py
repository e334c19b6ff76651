"""Augmentation on a device against albumentations on the CPU, sample by sample."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from data.augmentation import Augmentation
from data.device_augmentation import DeviceAugmentation
from tests.conftest import ROOT
from utils.errors import UserError

SIZE = (90, 120)
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def shipped(name: str, size: tuple[int, int] = SIZE) -> Augmentation:
    """The list of `conf/augmentation/<name>.yaml`."""
    node = OmegaConf.load(ROOT / "conf" / "augmentation" / f"{name}.yaml")
    return instantiate(OmegaConf.create({"data": {"image_size": list(size)}, "it": node}).it, _convert_="all")


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture, of which every pixel differs, and a mask of blocks of the ids 0 to 4."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), np.uint8), (0, 0), 3)
    image = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    blocks = rng.integers(0, 5, (9, 12), np.uint8)
    return image, blocks.repeat(10, 0).repeat(10, 1)


def on_device(
    augmentation: DeviceAugmentation, sample: tuple[np.ndarray, np.ndarray], seeds: list[int], device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The sample under each seed, as one batch: float32 (N, H, W, 3) and uint8 (N, H, W)."""
    image, mask = (torch.from_numpy(array) for array in sample)
    drawn = torch.stack([torch.from_numpy(augmentation.draw(seed, SIZE)) for seed in seeds])
    images = image.permute(2, 0, 1).expand(len(seeds), -1, -1, -1)
    batch = (images.to(device), mask.expand(len(seeds), -1, -1).to(device), drawn.to(device))
    found, masks = augmentation(*batch)
    return found.permute(0, 2, 3, 1).cpu().numpy(), masks.cpu().numpy()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["standard", "affine", "flip", "none"])
def test_equals_albumentations(name: str, device: str, sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Up to rounding: albumentations rounds after each transform, and OpenCV blends the last pixel with the fill."""
    augmentation, seeds = shipped(name), list(range(40))
    images, masks = on_device(DeviceAugmentation(augmentation, SIZE), sample, seeds, device)
    for seed, image, mask in zip(seeds, images, masks, strict=True):
        expected, expected_mask = augmentation(*sample, seed)
        difference = np.abs(image - expected)
        assert difference.mean() < 2, seed
        assert np.percentile(difference, 95) < 6, seed
        assert (mask != expected_mask).mean() < 0.03, seed  # what lies exactly between two pixels


@pytest.mark.parametrize(
    "transform",
    [
        A.ColorJitter(brightness=(0.5, 1.5), contrast=(1, 1), saturation=(1, 1), hue=(0, 0), p=1),
        A.ColorJitter(brightness=(1, 1), contrast=(0.5, 1.5), saturation=(1, 1), hue=(0, 0), p=1),
        A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(0.3, 2), hue=(0, 0), p=1),
        A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=(-0.3, 0.3), p=1),
        A.RGBShift(r_shift_limit=40, g_shift_limit=40, b_shift_limit=40, p=1),
        A.RandomBrightnessContrast(p=1),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "shift", "brightness and contrast"],
)
def test_each_colour_equals_albumentations(transform: Any, sample: tuple[np.ndarray, np.ndarray]) -> None:
    augmentation, seeds = Augmentation([transform]), list(range(10))
    images, _ = on_device(DeviceAugmentation(augmentation, SIZE), sample, seeds)
    for seed, image in zip(seeds, images, strict=True):
        expected, _ = augmentation(*sample, seed)
        difference = np.abs(image - expected)
        turns = getattr(transform, "hue", (0, 0)) != (0, 0)
        # OpenCV's hues of 8 bits are steps of two degrees, of which each is up to 255 * 2 / 60 in a channel.
        assert np.percentile(difference, 99) <= (9 if turns else 1.5)
        assert np.abs(expected - sample[0].astype(float)).mean() > difference.mean() or seed > 0


def test_a_sample_does_not_depend_on_its_batch(sample: tuple[np.ndarray, np.ndarray]) -> None:
    augmentation = DeviceAugmentation(shipped("standard"), SIZE)
    together, masks = on_device(augmentation, sample, [3, 4, 5])
    alone, mask = on_device(augmentation, sample, [4])
    np.testing.assert_allclose(together[1], alone[0], atol=1e-3)
    np.testing.assert_array_equal(masks[1], mask[0])


def test_what_lies_outside_is_ignored(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Half the size: three quarters of the crop are padded, symmetrically."""
    transforms = [A.RandomScale((-0.5, -0.5), mask_interpolation=6, p=1)]
    crop = A.RandomCrop(*SIZE, pad_if_needed=True, fill=[124, 116, 104], fill_mask=255)
    images, masks = on_device(DeviceAugmentation(Augmentation([*transforms, crop]), SIZE), sample, [0])
    outside = np.ones(SIZE, bool)
    outside[22:67, 30:90] = False
    np.testing.assert_array_equal(masks[0] == 255, outside)
    assert (images[0][outside] == [124, 116, 104]).all()


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([A.GaussianBlur()], "GaussianBlur runs on the CPU only; pass data.augment_on=cpu"),
        ([A.RandomScale(0.5, mask_interpolation=6)], "add a RandomCrop after it"),
        ([A.Affine(fill_mask=255, border_mode=cv2.BORDER_REFLECT)], "border_mode"),
        ([A.RandomBrightnessContrast(brightness_by_max=False)], "brightness_by_max"),
    ],
)
def test_what_is_not_supported(transforms: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DeviceAugmentation(Augmentation(transforms), SIZE)
