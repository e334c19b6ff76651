"""Random crops at the resolution of the photos."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import albumentations as A
import numpy as np

from data.augmentation import Augmentation
from data.fitting import bordered
from data.images import resize_image
from data.labels import IGNORE_INDEX
from data.masks import resize_mask
from data.parts import Box
from data.samples import Sample, SegmentationDataset
from utils.errors import UserError, as_user_error

log = logging.getLogger(__name__)

TRIES = 10
"""Positions that are tried to keep to `max_class_share`, as in MMSegmentation."""

PHOTOS_LOOKED_AT = 16
"""Photos whose sizes decide on a warning, since reading all sizes of a large data set takes long."""


class RandomCrop(Augmentation):
    """Scale a photo by a random factor and crop it, then apply a list of transforms to the crop.

    Photos come in their own sizes. Only the part that becomes the crop is scaled, and colours are changed last, on the
    crop, so that little is computed for pixels that are not used.

    Args:
        transforms: as for `Augmentation`, applied to the crop.
        crop_size: (H, W) of the crop.
        scale_range: smallest and largest factor, drawn uniformly.
        pad: pad where the scaled photo is smaller than the crop, with `fill` and 255.
        fill: red, green and blue of the padding.
        max_class_share: largest share of the labelled pixels that one class may have. Other positions are drawn up to
            10 times, and the last is taken. None for no limit.

    Raises:
        UserError: as for `Augmentation`, or a number is out of range.
    """

    def __init__(
        self,
        transforms: Sequence[A.BasicTransform] = (),
        *,
        crop_size: tuple[int, int],
        scale_range: tuple[float, float] = (0.5, 2.0),
        pad: bool = True,
        fill: tuple[int, int, int] = (124, 116, 104),
        max_class_share: float | None = None,
    ) -> None:
        super().__init__(transforms)
        self.crop_size = crop_size[0], crop_size[1]
        smallest, largest = scale_range
        if not 0.01 <= smallest <= largest <= 100:
            raise UserError(
                f"augmentation.scale_range={list(scale_range)}: must be a smaller and a larger factor, 0.01 to 100"
            )
        if max_class_share is not None and not 0 < max_class_share <= 1:
            raise UserError(f"augmentation.max_class_share={max_class_share}: must be above 0 and at most 1, or null")
        if not all(0 <= value <= 255 for value in fill):
            raise UserError(f"augmentation.fill={list(fill)}: must be red, green and blue from 0 to 255")
        self.scale_range, self.pad, self.fill, self.max_class_share = (smallest, largest), pad, fill, max_class_share

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        size = mask.shape[0], mask.shape[1]
        found = self._crop(size, lambda inside: inside.of(mask), lambda inside, _: inside.of(image), seed)
        return super().__call__(*found, seed)

    def sample(self, samples: SegmentationDataset, index: int, seed: int) -> Sample:
        """Return a crop of a sample, decoding little more of its files than the crop where they allow that.

        Colours of a JPEG may differ by rounding where the crop has at most half of its resolution.
        """
        if not samples.reads_parts:
            return super().sample(samples, index, seed)
        name, size = samples.name(index), samples.size(index)
        image_part = functools.partial(samples.image_part, index, size)
        if self.max_class_share is None:
            found = self._crop(size, functools.partial(samples.mask_part, index), image_part, seed)
        else:
            mask = samples.mask(index)  # since several boxes may be tried
            found = self._crop(size, lambda inside: inside.of(mask), image_part, seed)
        with as_user_error(f"augmentation: fails on {name}"):
            return Sample(*super().__call__(*found, seed), name)

    def _crop(
        self,
        size: tuple[int, int],
        mask_part: Callable[[Box], np.ndarray],
        image_part: Callable[[Box, tuple[int, int]], np.ndarray],
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the crop that a seed chooses from a photo of a size (H, W), before the list of transforms."""
        for box in self.boxes(size, seed):
            inside = box.within(size)
            cropped = resize_mask(_padded(mask_part(inside), inside, box, (IGNORE_INDEX,)), self.crop_size)
            if self.max_class_share is None:
                break
            counts = np.bincount(cropped.ravel(), minlength=256)[:IGNORE_INDEX]
            if 0 < counts.max() <= self.max_class_share * counts.sum():
                break
        # A part that is padded must keep its resolution, since the padding has full resolution.
        size_used = self.crop_size if inside == box else (inside.height, inside.width)
        image = _padded(image_part(inside, size_used), inside, box, self.fill)
        return resize_image(image, self.crop_size), cropped

    def boxes(self, size: tuple[int, int], seed: int) -> Iterator[Box]:
        """Yield the parts of a photo of a size (H, W) that are tried with a seed; the first is used unless
        `max_class_share` is exceeded."""
        rng = np.random.default_rng((seed, 1))  # not the numbers that the transforms draw
        scale = rng.uniform(*self.scale_range)
        for _ in range(TRIES):
            yield self._box(size, scale, rng)

    def _sides(self, scale: float) -> list[int]:
        """Return the height and width that become the size of the crop when they are scaled."""
        return [max(round(side / scale), 1) for side in self.crop_size]

    def _box(self, size: tuple[int, int], scale: float, rng: np.random.Generator) -> Box:
        """Draw a random box that has the size of the crop after scaling."""
        sides = self._sides(scale)
        slack = [length - side for length, side in zip(size, sides, strict=True)]
        if min(slack) < 0 and not self.pad:
            raise UserError(self._too_large(size, scale))
        top, left = (int(rng.integers(min(room, 0), max(room, 0), endpoint=True)) for room in slack)
        return Box(top, left, *sides)

    def _too_large(self, size: tuple[int, ...], scale: float, name: str = "a photo") -> str:
        needed = max(side / length for side, length in zip(self.crop_size, size, strict=True))
        ways = ["a smaller data.crop_size", f"augmentation.scale_range {'to' if self.pad else 'from'} {needed:.2f}"]
        if not self.pad:
            ways.insert(0, "augmentation.pad=true")
        return (
            f"data.crop_size={list(self.crop_size)}: larger than {name} of {size[0]}x{size[1]} scaled by {scale:.2g};"
            f" pass {', '.join(ways[:-1])}, or {ways[-1]}"
        )

    def _exceeds(self, size: tuple[int, int], scale: float) -> bool:
        """Whether the crop is larger than a photo of a size (H, W) at a scale."""
        return any(side > length for side, length in zip(self._sides(scale), size, strict=True))

    def check(self, samples: SegmentationDataset) -> None:
        """Check that no crop can be larger than a scaled photo, or, with padding, warn if all are.

        Raises:
            UserError: names the first photo that is too small.
        """
        smallest, largest = self.scale_range
        if self.pad:
            some = range(min(len(samples), PHOTOS_LOOKED_AT))
            if some and all(self._exceeds(samples.size(index), largest) for index in some):
                log.warning("%s; every crop is padded", self._too_large(samples.size(0), largest, samples.name(0)))
            return
        for index in range(len(samples)):
            size = samples.size(index)
            if self._exceeds(size, smallest):
                raise UserError(self._too_large(size, smallest, samples.name(index)))


def _padded(part: np.ndarray, inside: Box, box: Box, fill: Sequence[int]) -> np.ndarray:
    """Pad the part of an image (H, W, C) or mask (H, W) inside a photo to the whole box, as by `bordered`."""
    if inside == box:
        return part
    place = inside.top - box.top, inside.left - box.left
    return bordered(part, place, (box.height, box.width), fill)
