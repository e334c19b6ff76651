"""Augmentations that copy parts of another sample into a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import albumentations as A
import numpy as np

from data.augmentation import Augmentation
from data.labels import IGNORE_INDEX, LabelSet
from data.samples import Sample, SegmentationDataset
from utils.errors import UserError, as_user_error, did_you_mean


class Mixing(Augmentation, ABC):
    """Base of augmentations that copy pixels and labels of another sample into a sample.

    Both are augmented by the list of transforms first, which must leave all samples at one size.

    Args:
        transforms: as for `Augmentation`.
        p: probability with which a sample is mixed.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform] = (), *, p: float = 0.5) -> None:
        super().__init__(transforms)
        if not 0 <= p <= 1:
            raise UserError(f"augmentation.p={p}: must be from 0 to 1")
        self.p = p

    @abstractmethod
    def region(self, mask: np.ndarray, labels: LabelSet, rng: np.random.Generator) -> np.ndarray:
        """Return which pixels of the other sample are copied, bool (H, W), from its mask uint8 (H, W)."""

    def sample(self, samples: SegmentationDataset, index: int, seed: int) -> Sample:
        """Return an augmented sample, mixed with another one of the set, which the seed chooses."""
        image, mask, name = super().sample(samples, index, seed)
        rng = np.random.default_rng((seed, 2))
        if rng.random() >= self.p or len(samples) < 2:
            return Sample(image, mask, name)
        other = samples[(index + int(rng.integers(1, len(samples)))) % len(samples)]
        with as_user_error(f"augmentation: fails on {other.name}"):
            other_image, other_mask = self(other.image, other.mask, int(rng.integers(2**63)))
        if other_mask.shape != mask.shape:
            raise UserError(
                f"augmentation: {name} came out as {mask.shape} and {other.name} as {other_mask.shape}, which cannot be"
                " mixed; end the list of transforms with a crop to data.image_size"
            )
        copied = self.region(other_mask, samples.labels, rng)
        return Sample(np.where(copied[..., None], other_image, image), np.where(copied, other_mask, mask), name)


class CutMix(Mixing):
    """Copy a rectangle. Its share of the image is drawn uniformly, and its centre, before it is clipped to the image.

    Yun et al. 2019, arXiv 1905.04899, section 3.1 with alpha = 1; for segmentation, French et al. 2020, arXiv
    1906.01916.
    """

    def region(self, mask: np.ndarray, labels: LabelSet, rng: np.random.Generator) -> np.ndarray:
        copied = np.zeros(mask.shape, bool)
        side = np.sqrt(rng.uniform())
        spans = []
        for length in mask.shape:
            first = rng.uniform(0, length) - side * length / 2
            spans.append(slice(max(round(first), 0), max(round(first + side * length), 0)))
        copied[spans[0], spans[1]] = True
        return copied


class ClassMix(Mixing):
    """Copy half of the classes that occur, chosen at random: Olsson et al. 2021, arXiv 2007.07936, section 3.1."""

    def region(self, mask: np.ndarray, labels: LabelSet, rng: np.random.Generator) -> np.ndarray:
        there = np.unique(mask[mask != IGNORE_INDEX])
        return np.isin(mask, rng.choice(there, (len(there) + 1) // 2, replace=False)) if there.size else mask < 0


class CopyPaste(Mixing):
    """Copy all pixels of some classes: the simple copy-paste of Ghiasi et al. 2021, arXiv 2012.07177, by class.

    Args:
        classes: names of the classes, at least one.

    Raises:
        UserError: there are no classes.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform] = (), *, classes: list[str], p: float = 0.5) -> None:
        super().__init__(transforms, p=p)
        if not classes:
            raise UserError("augmentation.classes=[]: names no class; pass augmentation.classes=[<class>,...]")
        self.classes = list(classes)

    def check(self, samples: SegmentationDataset) -> None:
        names = samples.labels.names
        for name in self.classes:
            if name not in names:
                raise UserError(
                    f"augmentation.classes={self.classes}: there is no class '{name}'{did_you_mean(name, names)}; the"
                    f" classes are {', '.join(names)}"
                )

    def region(self, mask: np.ndarray, labels: LabelSet, rng: np.random.Generator) -> np.ndarray:
        return np.isin(mask, [labels.names.index(name) for name in self.classes])
