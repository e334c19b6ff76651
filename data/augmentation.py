"""Augmentation as a pure function of a seed, so that the result does not depend on which process runs it, or when."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any, get_args

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise it looks for a newer version on the network

import albumentations as A
import cv2
import numpy as np

from data.bands import RGB, Bands
from data.labels import IGNORE_INDEX
from data.samples import Sample, SegmentationDataset, check_pixels
from utils.errors import UserError, as_user_error
from utils.text import plural, shown

log = logging.getLogger(__name__)

OF_FLOATS = ("Normalize", "ToFloat", "FromFloat", "ToTensorV2", "ToTensor3D")
STAYS = (
    "images must stay uint8 (H, W, 3); leave out Normalize, ToFloat, FromFloat and ToTensorV2: training does that"
    " itself, as the network's weights need it"
)
DRAWS = 8  # in `try_augmentation`
NEAREST = {cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT}


class Augmentation:
    """A list of albumentations transforms, applied to an image and its mask together.

    Args:
        transforms: the transforms, in the order in which they are applied.

    Raises:
        UserError: a transform converts the image to floats, fills the mask with a class instead of 255, averages ids,
            or moves the mask against the image.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform] = ()) -> None:
        if not isinstance(transforms, Sequence) or isinstance(transforms, str):
            raise UserError(f"augmentation.transforms={shown(transforms)}: must be a list of transforms")
        for transform in _leaves(transforms):
            _check_transform(transform)
        self.transforms = list(transforms)
        self.compose = A.Compose(self.transforms, is_check_shapes=False) if transforms else None
        self._others: dict[bool, A.Compose] = {}  # for images that are not RGB bytes

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment an image (H, W, C), of bytes or floats from 0 to 255, and its mask uint8 (H, W); the size may change.

        Images without exactly three channels are not RGB: transforms that change only the image (colour, blur, noise)
        are left out, and uncovered pixels become 0.
        """
        if self.compose is None:
            return image, mask
        is_rgb, is_float = image.shape[2] == 3, image.dtype != np.uint8
        compose = self.compose
        if is_float or not is_rgb:
            if is_rgb not in self._others:
                self._others[is_rgb] = A.Compose(_for_floats_or_bands(self.transforms, is_rgb), is_check_shapes=False)
            compose = self._others[is_rgb]
        # One generator for all: `set_random_seed` would give each transform the same numbers, and apply all or none.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        # Floats are from 0 to 1 for albumentations.
        augmented = compose(image=image / np.float32(255) if is_float else image, mask=mask)
        return augmented["image"] * np.float32(255) if is_float else augmented["image"], augmented["mask"]

    def sample(self, samples: SegmentationDataset, index: int, seed: int) -> Sample:
        """Return an augmented sample of a set; raise UserError if a transform fails on it."""
        image, mask, name = samples[index]
        with as_user_error(f"augmentation: fails on {name}"):
            image, mask = self(image, mask, seed)
        return Sample(image, mask, name)

    def check(self, samples: SegmentationDataset) -> None:
        """Raise UserError if an option does not fit the samples."""


def left_out(augmentation: Augmentation, bands: Bands) -> list[str]:
    """Return the names of the transforms that leave images of these bands as they are."""
    if bands.channels == 3:
        return []
    return [type(leaf).__name__ for leaf in _leaves(augmentation.transforms) if isinstance(leaf, A.ImageOnlyTransform)]


def check_augmented(
    image: object, mask: object, name: str, size: tuple[int, int] | None = None, bands: Bands = RGB
) -> None:
    """Check the result of an augmentation.

    Args:
        size: (H, W) that it is expected to have; None for any.
        bands: channels and values of the sample.

    Raises:
        UserError: it is not an image as the bands say and a mask uint8 (H, W) of that size.
    """
    remedy = STAYS if bands.is_rgb else f"images must keep {bands.channels} channels of {np.dtype(bands.dtype)}"
    check_pixels(image, mask, f"augmentation: {name} came out with", remedy, bands)
    assert isinstance(mask, np.ndarray)
    if size is not None and mask.shape != size:
        raise UserError(
            f"augmentation: {name} came out as {mask.shape}, not as {size}, the size of the batches;"
            " end the list of transforms with a crop to that size"
        )


def try_augmentation(augmentation: object, samples: SegmentationDataset, size: tuple[int, int] | None = None) -> None:
    """Check an augmentation, and augment the first sample several times, before training.

    Args:
        size: (H, W) that samples are expected to have afterwards; None for any.

    Raises:
        UserError: as for `Augmentation.check` and `check_augmented`; it is of another class or fails, or the mask gets
            ids that belong to no class.
    """
    if not isinstance(augmentation, Augmentation):
        raise UserError(
            f"augmentation: {type(augmentation).__name__} is not an Augmentation; inherit from"
            " data.augmentation.Augmentation, and override __call__"
        )
    augmentation.check(samples)
    names = left_out(augmentation, samples.bands)
    if names:
        log.info("photos of %s are not RGB: %s left out", plural(samples.bands.channels, "channel"), ", ".join(names))
    _, original, name = samples[0]  # so that a fault of the sample is not reported as one of the augmentation
    known, found = {*range(len(samples.labels)), IGNORE_INDEX}, set[int]()
    for draw in range(DRAWS):
        with as_user_error(f"augmentation: fails on {name}"):
            image, mask, _ = augmentation.sample(samples, 0, sample_seed(0, draw, 0))
        check_augmented(image, mask, name, size, samples.bands)
        found |= set(np.unique(mask).tolist())
        strange = found - known
        if strange:
            raise UserError(f"augmentation: the mask of {name} gets the id {min(strange)}, which belongs to no class")
    if found == {IGNORE_INDEX} and (original != IGNORE_INDEX).any():
        log.warning(
            "augmentation: leaves no labelled pixel of %s in any of %d draws;"
            " python -m tools.preview_augmentation shows what it does",
            *(name, DRAWS),
        )


def sample_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """Return the 64-bit seed of one sample in one epoch of a run.

    Args:
        repeat: how many times the sample was shown before in this epoch.
    """
    text = b"%d %d %d" % (seed, epoch, index) + (b" %d" % repeat if repeat else b"")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _for_floats_or_bands(transforms: Sequence[Any], is_rgb: bool) -> list[Any]:
    """Copy transforms for RGB images of floats, or for images of other channels, of bytes or floats."""
    copies = copy.deepcopy(list(transforms))
    for place, transform in enumerate(copies):
        if isinstance(transform, A.BaseCompose):
            transform.transforms = _for_floats_or_bands(transform.transforms, is_rgb)
        elif isinstance(transform, A.ImageOnlyTransform) and not is_rgb:
            copies[place] = A.NoOp(p=transform.p)  # which keeps the probabilities of a OneOf
        elif isinstance(getattr(transform, "fill", None), int | float | list | tuple | np.ndarray):
            fill = np.asarray(transform.fill, np.float32) / 255 if is_rgb else np.float32(0)
            transform.fill = fill.tolist()
    return copies


def _check_transform(transform: A.BasicTransform) -> None:
    """Check that a transform neither corrupts the mask nor moves it against the image; errors as for `Augmentation`."""
    name = type(transform).__name__
    if not isinstance(transform, A.BasicTransform):
        raise UserError(
            f"augmentation: {name} is not a transform of albumentations, which moves image and mask together"
        )
    if name in OF_FLOATS:
        raise UserError(f"augmentation: {name}: {STAYS}")
    if isinstance(transform, A.Morphological):
        raise UserError(f"augmentation: {name} would let classes of a mask grow or shrink by their ids; leave it out")
    for key in ("fill_mask", "mask_drop_value"):
        fill = getattr(transform, key, None)  # None leaves the mask alone
        fills = fill is not None and getattr(transform, "pad_if_needed", True)  # a crop that never pads never fills
        if fills and np.any(np.asarray(fill) != IGNORE_INDEX):
            raise UserError(
                f"augmentation: {name} fills mask pixels with {fill}, a class; set {key}: {IGNORE_INDEX} (ignored)"
            )
    interpolation = getattr(transform, "mask_interpolation", cv2.INTER_NEAREST)
    nearest = cv2.INTER_NEAREST_EXACT if _resizes(transform) else cv2.INTER_NEAREST
    if interpolation not in NEAREST:
        raise UserError(f"augmentation: {name} would average the ids of a mask; set mask_interpolation: {nearest}")
    if getattr(transform, "area_for_downscale", None) == "image_mask":
        raise UserError(f"augmentation: {name} would average the ids of a mask; set area_for_downscale: image")
    remedy = None
    if interpolation != nearest:
        remedy = f"mask_interpolation: {nearest} (INTER_NEAREST_EXACT)"
    elif isinstance(transform, A.Downscale) and not NEAREST.isdisjoint(transform.interpolation_pair.values()):
        remedy = f"interpolation_pair: {{downscale: {cv2.INTER_AREA}, upscale: {cv2.INTER_LINEAR}}}"
    elif isinstance(transform, A.MotionBlur) and (transform.allow_shifted or any(transform.direction_range)):
        remedy = "allow_shifted: false and direction_range: [0, 0]"
    if remedy is not None:
        raise UserError(f"augmentation: {name} would move the image against its mask; set {remedy}")


def _resizes(transform: A.BasicTransform) -> bool:
    """Whether a transform resizes masks by `cv2.resize`, whose INTER_NEAREST rounds down.

    These transforms accept INTER_NEAREST_EXACT. The others warp, and there INTER_NEAREST rounds to the nearest.
    """
    fields = getattr(getattr(type(transform), "InitSchema", None), "model_fields", {})
    field = fields.get("mask_interpolation")
    return field is not None and cv2.INTER_NEAREST_EXACT in get_args(field.annotation)


def _leaves(transforms: Sequence[A.BasicTransform | A.BaseCompose]) -> Iterator[A.BasicTransform]:
    """Yield the transforms, including those inside `OneOf` and the like."""
    for transform in transforms:
        if isinstance(transform, A.BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            yield transform
