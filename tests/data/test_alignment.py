"""Images and masks stay where they are, one above the other, to a tenth of a pixel on each axis."""

import re
from collections.abc import Callable

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.augmentation import Augmentation
from data.device_augmentation import DeviceAugmentation
from data.images import resize_image
from data.labels import LabelSet
from data.masks import resize_mask
from engine.normalization import Normalization
from export.exported import WithPreprocessing
from inference.predictor import Predictor
from tests.data.alignment import DARK, LIGHT, drift, scene
from tests.data.test_loading import augmentation_of
from utils.errors import UserError

MIXING = ["classmix", "copy_paste", "cutmix"]  # the list of standard, and pixels that stay where they are
TOLERANCE = 0.1  # pixels
EXACT = cv2.INTER_NEAREST_EXACT
SIZE = (160, 224)
LABELS = LabelSet(("dark", "light"), ((0, 0, 0), (255, 255, 255)))


def mean_drift(augment: Callable, draws: int) -> np.ndarray:
    """Of many draws, each counted as large as it is: flips would cancel what is always to the right."""
    return np.abs([drift(*augment(*scene(*SIZE, seed), seed)) for seed in range(draws)]).mean(0)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, -1), (1, 1)])
def test_the_measure_finds_a_known_drift(down: int, right: int) -> None:
    image, mask = scene(*SIZE)
    assert drift(np.roll(image, (down, right), (0, 1)), mask) == pytest.approx([down, right], abs=0.03)


@pytest.mark.parametrize("name", ["standard", "affine", "crop", "flip", "none"])
def test_augmentation_lists_keep_image_and_mask_together(name: str) -> None:
    found = mean_drift(augmentation_of(name, SIZE), draws=60)
    assert (found < TOLERANCE).all(), found


@pytest.mark.parametrize("name", ["standard", "affine", "flip", "none"])
def test_augmentation_on_a_device_does_so_too(name: str) -> None:
    augmentation = DeviceAugmentation(augmentation_of(name, SIZE), SIZE)

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = torch.from_numpy(augmentation.draw(seed, (image.shape[0], image.shape[1])))[None]
        images, masks = augmentation(
            torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(mask)[None], drawn
        )
        return images[0].permute(1, 2, 0).numpy(), masks[0].numpy()

    found = mean_drift(augment, draws=40)
    assert (found < TOLERANCE).all(), found


def test_all_shipped_lists_are_measured() -> None:
    from utils.config_groups import options

    assert sorted(options("augmentation")) == sorted(["affine", "crop", "flip", "none", "standard", *MIXING])


@pytest.mark.parametrize(
    "transform",
    [
        A.RandomScale((-0.5, 1.0), p=1, mask_interpolation=EXACT),
        A.RandomResizedCrop((120, 160), scale=(0.3, 1), mask_interpolation=EXACT),
        A.Affine(scale=(0.5, 2), rotate=(-45, 45), fill_mask=255, p=1),
        A.Perspective(fill_mask=255, p=1),
        A.ElasticTransform(alpha=50, sigma=10, fill_mask=255, p=1),
        A.MotionBlur(allow_shifted=False, direction_range=(0, 0), p=1),
        A.Downscale(interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}, p=1),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_transforms_that_are_accepted_do_too(transform: A.BasicTransform) -> None:
    found = mean_drift(Augmentation([transform]), draws=20)
    assert (found < TOLERANCE).all(), found


@pytest.mark.parametrize(
    ("transform", "remedy"),
    [
        (A.RandomScale(p=1), "mask_interpolation: 6"),
        (A.Resize(100, 140), "mask_interpolation: 6"),
        (A.LongestMaxSize(200), "mask_interpolation: 6"),
        (A.SmallestMaxSize(100), "mask_interpolation: 6"),
        (A.RandomResizedCrop((120, 160)), "mask_interpolation: 6"),
        (A.RandomSizedCrop((80, 120), (120, 160)), "mask_interpolation: 6"),
        (A.CropAndPad(percent=-0.2, fill_mask=255), "mask_interpolation: 6"),
        (A.Downscale(p=1), "interpolation_pair: {downscale: 3, upscale: 1}"),
        (A.MotionBlur(p=1), "allow_shifted: false and direction_range: [0, 0]"),
        (A.MotionBlur(allow_shifted=False, p=1), "allow_shifted: false and direction_range: [0, 0]"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, A.BasicTransform) else None,
)
def test_transforms_that_would_move_one_against_the_other_are_refused(transform: A.BasicTransform, remedy: str) -> None:
    alone = A.Compose([transform], is_check_shapes=False, seed=0)

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        found = alone(image=image, mask=mask)
        return found["image"], found["mask"]

    assert mean_drift(augment, draws=20).max() > TOLERANCE  # it really does
    expected = f"{type(transform).__name__} would move the image against its mask; set {remedy}"
    with pytest.raises(UserError, match=re.escape(expected)):
        Augmentation([A.OneOf([transform, A.NoOp()])])


def test_ids_averaged_over_an_area_are_refused() -> None:
    with pytest.raises(UserError, match="RandomScale would average the ids of a mask; set area_for_downscale: image"):
        Augmentation([A.RandomScale(mask_interpolation=EXACT, area_for_downscale="image_mask")])
    Augmentation([A.RandomScale(mask_interpolation=EXACT, area_for_downscale="image")])


@pytest.mark.parametrize(
    "size", [(80, 112), (120, 168), (40, 56), (64, 90), (107, 131), (320, 448), (240, 336), (80, 224), (160, 112)]
)
def test_resizing_keeps_image_and_mask_together(size: tuple[int, int]) -> None:
    image, mask = scene(*SIZE)
    found = np.abs(drift(resize_image(image, size), resize_mask(mask, size)))
    assert (found < TOLERANCE).all(), found


def test_masks_are_resized_to_the_nearest_pixel() -> None:
    """Of all sides up to 12 to all up to 12, by the distances themselves; where two are equally near, either."""
    for length in range(1, 13):
        for size in range(1, 13):
            row = np.arange(length, dtype=np.uint8)[None]
            centres = (np.arange(size) + 0.5) * length / size
            distances = np.abs(centres[:, None] - (np.arange(length) + 0.5))
            for found in (resize_mask(row, (1, size))[0], resize_mask(row.T, (size, 1))[:, 0]):
                np.testing.assert_allclose(distances[np.arange(size), found], distances.min(1), atol=1e-9)


class Threshold(nn.Module):
    """A network that sees what is light: logits (N, 2, H, W) of images normalised by 0 and 1."""

    def forward(self, images: Tensor) -> Tensor:
        light = 20 * (images.mean(1) - (LIGHT + DARK) / 2 / 255)
        return torch.stack([-light, light], 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tta": ["flip"]},
        {"tta": ["multiscale"]},
        {"tta": ["flip", "multiscale"]},
        {"window": (64, 80)},
        {"window": (64, 80), "overlap": 0.0, "tta": ["flip"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("input_size", [SIZE, (80, 112), (100, 150), (200, 300)])
def test_what_is_predicted_lies_where_it_is_in_the_photo(options: dict, input_size: tuple[int, int]) -> None:
    image, _ = scene(*SIZE)
    predictor = Predictor(Threshold(), LABELS, input_size, Normalization((0, 0, 0), (1, 1, 1)), **options)
    found = np.abs(drift(image, predictor.predict(image)))
    assert (found < TOLERANCE).all(), found


def test_exported_preprocessing_moves_nothing() -> None:
    image, mask = scene(*SIZE)
    network = WithPreprocessing(Threshold(), Normalization((0, 0, 0), (1, 1, 1)))
    ids, _logits = network(torch.from_numpy(image)[None])
    np.testing.assert_array_equal(ids[0].numpy(), mask)
