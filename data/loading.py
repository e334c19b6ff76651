"""Load batches, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from data.augmentation import Augmentation, check_augmented, sample_seed
from data.fitting import Fit
from data.samples import Sample, SegmentationDataset
from data.workers import WatchedSamples, worker_options


class TrainingBatch(NamedTuple):
    """Images (N, C, H, W), uint8 or float32 from 0 to 255, masks uint8 (N, H, W), and the samples' names."""

    images: Tensor
    masks: Tensor
    names: list[str]


class ValidationBatch(NamedTuple):
    """Resized images (N, C, H, W), uint8 or float32 from 0 to 255, masks uint8 at their own sizes (h, w), and the
    samples' names."""

    images: Tensor
    masks: list[Tensor]
    names: list[str]
    fit: Fit = "stretch"


class Share(NamedTuple):
    """The number of this process, counted from 0, and of all processes that train together."""

    rank: int
    processes: int


ALONE = Share(0, 1)


Key = tuple[int, int, int]
"""What a batch asks for: the epoch, how often the sample was shown before in this epoch, and the sample's index."""


class EpochBatches(Sampler[list[Key]]):
    """Batches of keys, in another order each epoch.

    The epoch is part of each key, since workers live through all epochs. Of several processes, each gets every n-th
    batch, and all get the same number: those without a last one get another batch a second time.

    Args:
        probabilities: of each sample, float64 (N,), to draw the samples of an epoch; by default, each is shown once.

    Attributes:
        batches: how many there are in an epoch, for all processes.
        epoch: the epoch that the next iteration is for.
        start: how many of its batches to leave out, for a run that is resumed in the middle of an epoch.
    """

    def __init__(
        self, samples: int, batch_size: int, seed: int, share: Share = ALONE, probabilities: np.ndarray | None = None
    ) -> None:
        self.samples, self.batch_size, self.seed, self.share = samples, batch_size, seed, share
        self.probabilities = probabilities
        self.batches = -(-samples // batch_size)
        self.epoch, self.start = 0, 0

    def images_before(self, batch: int) -> int:
        """Return the number of images in the first `batch` batches of an epoch."""
        return min(batch * self.batch_size, self.samples)

    def __len__(self) -> int:
        return -(-self.batches // self.share.processes)

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self._keys()
        for first in range(self.start, self.batches, self.share.processes):
            place = (first + self.share.rank) % self.batches * self.batch_size
            yield keys[place : place + self.batch_size]

    def _keys(self) -> list[Key]:
        """Return the keys of the epoch, which depend on nothing but the seed and the epoch."""
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.probabilities is None:
            order = rng.permutation(self.samples)
        else:  # some are drawn several times
            order = rng.choice(self.samples, self.samples, p=self.probabilities)
        shown: Counter[int] = Counter()
        keys = []
        for index in order.tolist():
            keys.append((self.epoch, shown[index], index))
            shown[index] += 1
        return keys


def in_order(samples: int, batch_size: int, share: Share = ALONE) -> list[list[int]]:
    """Return batches of indices in their order.

    Of several processes, each gets every n-th batch, and all get the same number: some an empty one at the end.
    """
    together = batch_size * share.processes
    starts = range(share.rank * batch_size, -(-samples // together) * together, together)
    return [list(range(start, min(start + batch_size, samples))) for start in starts]


class _TrainingSamples(Dataset):
    """Augmented samples, indexed by `Key`."""

    def __init__(
        self, samples: SegmentationDataset, augmentation: Augmentation, size: tuple[int, int], seed: int
    ) -> None:
        self.samples, self.augmentation, self.size, self.seed = samples, augmentation, size, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, str]:
        epoch, repeat, index = key
        own = sample_seed(self.seed, epoch, index, repeat)
        image, mask, name = self.augmentation.sample(self.samples, index, own)
        check_augmented(image, mask, name, self.size, self.samples.bands)
        return as_tensor(image), as_tensor(mask), name


class TrainingLoader(DataLoader[TrainingBatch]):
    """Batches of augmented samples.

    The last batch of an epoch may be smaller; a set smaller than `batch_size` gives one batch.

    Args:
        samples: as `data.checking.checked_samples` returns them; of one size unless the augmentation crops.
        image_size: (H, W) of the augmented samples.
        probabilities: as for `EpochBatches`.

    Attributes:
        order: set its `epoch` and `start` before each iteration.
        image_size: (H, W) of the batches.
        watched: knows which worker reads which sample.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        augmentation: Augmentation,
        *,
        image_size: tuple[int, int],
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        share: Share = ALONE,
        probabilities: np.ndarray | None = None,
    ) -> None:
        self.order = EpochBatches(len(samples), batch_size, seed, share, probabilities)
        self.image_size = image_size
        self.watched = WatchedSamples(self.items(samples, augmentation, seed), samples, num_workers)
        options = worker_options(num_workers, pin_memory)
        super().__init__(self.watched, batch_sampler=self.order, collate_fn=self.collate, **options)

    def items(self, samples: SegmentationDataset, augmentation: Augmentation, seed: int) -> Dataset:
        """Return what is loaded for a batch, indexed by `Key`; the seed is that of the run."""
        return _TrainingSamples(samples, augmentation, self.image_size, seed)

    @staticmethod
    def collate(samples: list[tuple[Any, ...]]) -> Any:
        """Return a batch of items."""
        images, masks, names = zip(*samples, strict=True)
        return TrainingBatch(_stack(images), torch.stack(masks), list(names))


class ValidationLoader(DataLoader[ValidationBatch]):
    """Batches of resized images with masks at their own sizes, in the order of the data set.

    Args:
        samples: with images of one size, as `data.checking.checked_samples` gives them.

    Attributes:
        samples: how many there are, for all processes.
        labels: of the samples.
        order: the indices of each batch of this process.
        fit: how photos were brought to the size of the images.
        watched: knows which worker reads which sample.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        *,
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        share: Share = ALONE,
        fit: Fit = "stretch",
    ) -> None:
        self.fit, self.samples, self.labels = fit, len(samples), samples.labels
        self.order = in_order(len(samples), batch_size, share)
        self.watched = WatchedSamples(samples, samples, num_workers)
        super().__init__(
            self.watched,
            batch_sampler=self.order,
            collate_fn=functools.partial(_collate_validation, fit),
            **worker_options(num_workers, pin_memory),
        )


def as_tensor(pixels: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an image or mask if its layout allows that."""
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _stack(images: Iterable[Tensor]) -> Tensor:
    """Stack images (H, W, C) to (N, C, H, W), in the layout `channels_last`."""
    return torch.stack(list(images)).permute(0, 3, 1, 2)


def _collate_validation(fit: Fit, samples: list[Sample]) -> ValidationBatch:
    if not samples:
        return ValidationBatch(torch.empty(0, 3, 0, 0, dtype=torch.uint8), [], [])
    images, masks, names = zip(*samples, strict=True)
    return ValidationBatch(_stack(map(as_tensor, images)), list(map(as_tensor, masks)), list(names), fit)
