"""Samples at the size that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

from data.images import resize_image, resize_mask
from data.labels import LabelSet
from data.samples import Sample, SegmentationDataset, check_pixels
from utils.errors import DataFault

FORM = "a data set must give images uint8 (H, W, 3), RGB, and masks uint8 (H, W)"


class ResizedSamples:
    """The first samples of a data set, with images resized; itself a data set.

    Args:
        image_size: (H, W) of the images.
        masks: resize masks too, for training. In validation they keep their own sizes, at which metrics are computed.
        limit: how many samples at most.
    """

    def __init__(
        self, dataset: SegmentationDataset, image_size: tuple[int, int], masks: bool, limit: int | None = None
    ) -> None:
        self.dataset, self.image_size, self.masks = dataset, image_size, masks
        self.length = len(dataset) if limit is None else min(limit, len(dataset))

    @property
    def root(self) -> object:
        """Where the data set lies, if it lies somewhere."""
        return getattr(self.dataset, "root", None)

    @property
    def labels(self) -> LabelSet:
        return self.dataset.labels

    @property
    def splits(self) -> Sequence[str]:
        return self.dataset.splits

    @property
    def faults(self) -> Sequence[DataFault]:
        return self.dataset.faults

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        image, mask, name = self.dataset[index]
        check_pixels(image, mask, f"data: {type(self.dataset).__name__} gives {name} as", FORM)
        resized = resize_image(image, self.image_size)
        return Sample(resized, resize_mask(mask, self.image_size) if self.masks else mask, name)

    def name(self, index: int) -> str:
        return self.dataset.name(index)

    def files(self, index: int) -> list[str]:
        return self.dataset.files(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.image_size if self.masks else self.dataset.size(index)
