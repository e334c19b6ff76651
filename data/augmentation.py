"""Augmentation as a pure function of a seed: who runs it, and when, cannot change its result."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version

import albumentations as A
import cv2
import numpy as np

from data.labels import IGNORE_INDEX
from utils.errors import UserError


class Augmentation:
    """A list of albumentations transforms, applied to an image and its mask together.

    Args:
        transforms: in the order of their application; none leaves the samples as they are.

    Raises:
        UserError: a transform would fill the mask with a class instead of 255, or average its ids.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform] = ()) -> None:
        for transform in _leaves(transforms):
            fill = getattr(transform, "fill_mask", None)  # None leaves the mask alone
            if fill is not None and np.any(np.asarray(fill) != IGNORE_INDEX):
                raise UserError(
                    f"augmentation: {type(transform).__name__} fills uncovered mask pixels with {fill}, a class;"
                    f" say fill_mask: {IGNORE_INDEX} (ignored)"
                )
            if getattr(transform, "mask_interpolation", cv2.INTER_NEAREST) not in (
                cv2.INTER_NEAREST,
                cv2.INTER_NEAREST_EXACT,
            ):
                name = type(transform).__name__
                raise UserError(f"augmentation: {name} would average the ids of a mask; say mask_interpolation: 0")
        self.transforms = list(transforms)
        self._compose = A.Compose(self.transforms, is_check_shapes=False) if transforms else None

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augments an image uint8 (H, W, 3) and its mask uint8 (H, W); the size may change."""
        if self._compose is None:
            return image, mask
        # One source for all: `set_random_seed` would give each transform the same numbers, and so apply all or none.
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        augmented = self._compose(image=image, mask=mask)
        return augmented["image"], augmented["mask"]


def _leaves(transforms: Sequence[A.BasicTransform | A.BaseCompose]) -> Iterator[A.BasicTransform]:
    """The transforms themselves, those inside `OneOf` and the like included."""
    for transform in transforms:
        if isinstance(transform, A.BaseCompose):
            yield from _leaves(transform.transforms)
        else:
            yield transform


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The 64-bit seed of one sample in one epoch of a run."""
    return int.from_bytes(hashlib.blake2b(b"%d %d %d" % (seed, epoch, index), digest_size=8).digest(), "little")
