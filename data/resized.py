"""Samples at the size that a network takes."""

from __future__ import annotations

import numpy as np

from data.fitting import Fit, padded_and_resized, padded_size
from data.images import resize_image
from data.labels import IGNORE_INDEX
from data.masks import resize_mask
from data.parts import Box
from data.samples import Sample, SegmentationDataset, View, check_pixels


class ResizedSamples(View):
    """The first samples of a data set, with images resized.

    Args:
        image_size: (H, W) of the images; None leaves them at their own sizes.
        masks: resize masks too, for training. In validation they keep their own sizes, at which metrics are computed.
        limit: maximum number of samples.
        fit: `stretch` the images to that size, or `pad` them first at the bottom or right, masks too if they are
            resized.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        image_size: tuple[int, int] | None,
        masks: bool,
        limit: int | None = None,
        fit: Fit = "stretch",
    ) -> None:
        super().__init__(dataset, range(len(dataset))[:limit])
        self.image_size, self.masks, self.fit = image_size, masks, fit
        self.reads_parts = dataset.reads_parts and image_size is None

    def __getitem__(self, index: int) -> Sample:
        # Validation decodes images in full, as inference does.
        if self.image_size is not None and self.masks and self.dataset.reads_parts:
            image, mask, name = self._reduced(index, self.image_size)
        else:
            image, mask, name = super().__getitem__(index)
            place = f"data: {type(self.dataset).__name__} gives {name} as"
            remedy = f"a data set must give images {self.bands.form}, and masks uint8 (H, W)"
            check_pixels(image, mask, place, remedy, self.bands)
        if self.image_size is not None:
            image = (padded_and_resized if self.fit == "pad" else resize_image)(image, self.image_size)
        return Sample(image, self._resized(mask), name)

    def _reduced(self, index: int, size: tuple[int, int]) -> Sample:
        """Read a sample whose image may be decoded at a fraction of its resolution."""
        mask = super().mask(index)
        height, width = mask.shape
        rows, columns = padded_size((height, width), size) if self.fit == "pad" else (height, width)
        size_used = -(-size[0] * height // rows), -(-size[1] * width // columns)
        image = self.image_part(index, (height, width), Box(0, 0, height, width), size_used)
        return Sample(image, mask, self.name(index))

    def mask(self, index: int) -> np.ndarray:
        return self._resized(super().mask(index))

    def _resized(self, mask: np.ndarray) -> np.ndarray:
        if not self.masks or self.image_size is None:
            return mask
        if self.fit == "pad":
            return padded_and_resized(mask, self.image_size, resize_mask, (IGNORE_INDEX,))
        return resize_mask(mask, self.image_size)

    def size(self, index: int) -> tuple[int, int]:
        return self.image_size if self.masks and self.image_size else super().size(index)
