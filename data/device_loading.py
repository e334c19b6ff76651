"""Batches that are kept, or at least augmented, on the device that trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.augmentation import Augmentation, sample_seed
from data.device_augmentation import DeviceAugmentation
from data.fitting import Fit
from data.loading import (
    ALONE,
    EpochBatches,
    Key,
    Share,
    TrainingBatch,
    TrainingLoader,
    ValidationBatch,
    ValidationLoader,
    as_tensor,
    in_order,
)
from data.samples import SegmentationDataset
from data.workers import WatchedSamples, worker_options
from utils.errors import UserError
from utils.text import plural


class DeviceTrainingLoader(DataLoader[TrainingBatch]):
    """Training batches that are augmented on the device.

    Args, attributes: as `data.loading.TrainingLoader`, and
        keep: keep all samples on the device, padded to one size; otherwise worker processes read them.

    Raises:
        UserError: the augmentation is not supported on devices, or the samples do not fit.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        augmentation: Augmentation,
        *,
        image_size: tuple[int, int],
        batch_size: int,
        seed: int,
        device: torch.device,
        keep: bool,
        num_workers: int = 0,
        pin_memory: bool = False,
        share: Share = ALONE,
        probabilities: np.ndarray | None = None,
    ) -> None:
        self.order = EpochBatches(len(samples), batch_size, seed, share, probabilities)
        self.image_size, self.device = image_size, device
        self.augmentation = DeviceAugmentation(augmentation, image_size)
        if self.augmentation.output_size != image_size:
            raise UserError(
                f"augmentation: samples come out as {self.augmentation.output_size}, not as"
                f" data.image_size={list(image_size)}; end the list of transforms with a crop to that size"
            )
        self.kept: tuple[Tensor, Tensor] | None = None
        sizes = None
        if keep:
            sizes = [samples.size(index) for index in range(len(samples))]
            images, masks = loaded(samples, largest(sizes), device)
            self.kept = images, torch.stack([padded(mask, largest(sizes)) for mask in masks])
        items = _DrawnSamples(samples, self.augmentation, seed, sizes)
        self.watched = WatchedSamples(items, samples, num_workers)
        super().__init__(
            self.watched,
            batch_sampler=self.order,
            collate_fn=_collate,
            **worker_options(num_workers, pin_memory),
        )

    def __iter__(self) -> Iterator[TrainingBatch]:  # type: ignore[override]
        for *tensors, names in super().__iter__():
            *found, drawn = [tensor.to(self.device, non_blocking=True) for tensor in tensors]
            if self.kept is None:
                images, masks = found[0].permute(0, 3, 1, 2), found[1]
            else:
                images, masks = (pixels[found[0]] for pixels in self.kept)
            yield TrainingBatch(*self.augmentation(images, masks, drawn), names)


class DeviceValidationLoader:
    """Validation batches of samples that are kept on the device; attributes as `data.loading.ValidationLoader`.

    Raises:
        UserError: the samples do not fit.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        *,
        image_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        share: Share = ALONE,
        fit: Fit = "stretch",
    ) -> None:
        self.fit = fit
        self.samples, self.labels = len(samples), samples.labels
        self.names = [samples.name(index) for index in range(len(samples))]
        self.images, self.masks = loaded(samples, image_size, device)
        self.order = in_order(len(samples), batch_size, share)
        self.watched = WatchedSamples(samples, samples, 0)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[ValidationBatch]:
        for indices in self.order:
            some = slice(indices[0], indices[-1] + 1) if indices else slice(0)
            yield ValidationBatch(self.images[some], self.masks[some], self.names[some], self.fit)


AnyTrainingLoader = TrainingLoader | DeviceTrainingLoader
AnyValidationLoader = ValidationLoader | DeviceValidationLoader


def loaded(
    samples: SegmentationDataset, image_size: tuple[int, int], device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """Load all samples of a split into the memory of a device.

    Args:
        samples: as `data.checking.checked_samples` returns them.
        image_size: (H, W) of the largest image; smaller ones are followed by any values at the bottom and right.

    Returns:
        Images uint8 (N, 3, H, W), in the layout `channels_last`, and masks uint8 (h, w).

    Raises:
        UserError: they do not fit.
    """
    height, width = image_size
    pixels = sum(rows * columns for rows, columns in (samples.size(i) for i in range(len(samples))))
    needed = 3 * height * width * len(samples) + pixels
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if needed > 0.8 * free:
            raise UserError(
                f"data.cache=device needs {needed / 1e9:.2f} GB for {plural(len(samples), 'sample')}, and {device}"
                f" has {free / 1e9:.2f} GB free; pass data.cache=ram, or a smaller data.image_size"
            )
    images = torch.empty(len(samples), height, width, 3, dtype=torch.uint8, device=device)
    masks = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(samples.__getitem__, range(len(samples)))
        bar = tqdm(found, "loading", len(samples), unit="img", leave=False, delay=1, disable=None)
        for index, sample in enumerate(bar):
            rows, columns = sample.image.shape[:2]
            images[index, :rows, :columns] = as_tensor(sample.image)
            masks.append(as_tensor(sample.mask).to(device))
    return images.permute(0, 3, 1, 2), masks


class _DrawnSamples(Dataset):
    """The random numbers and names of samples, indexed by `Key`, after their pixels, or their indices if kept.

    Args:
        sizes: (H, W) of the samples that are kept; None to read them.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        augmentation: DeviceAugmentation,
        seed: int,
        sizes: list[tuple[int, int]] | None,
    ) -> None:
        self.samples, self.augmentation, self.seed, self.sizes = samples, augmentation, seed, sizes

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        epoch, repeat, index = key
        seed = sample_seed(self.seed, epoch, index, repeat)
        if self.sizes is not None:
            drawn = self.augmentation.draw(seed, self.sizes[index])
            return torch.tensor(index), torch.from_numpy(drawn), self.samples.name(index)
        image, mask, name = self.samples[index]
        drawn = self.augmentation.draw(seed, (mask.shape[0], mask.shape[1]))
        return as_tensor(image), as_tensor(mask), torch.from_numpy(drawn), name


def largest(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the smallest (H, W) that holds pictures of all these sizes."""
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def padded(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad an image (H, W, C) or a mask (H, W) at the bottom and right."""
    border = 0, size[1] - pixels.shape[1], 0, size[0] - pixels.shape[0]
    return F.pad(pixels, border if pixels.ndim == 2 else (0, 0, *border))


def _collate(samples: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Stack each field, the names aside, which come last; images and masks are padded to one size."""
    *tensors, names = zip(*samples, strict=True)
    return (*map(_stacked, tensors), list(names))


def _stacked(tensors: tuple[Tensor, ...]) -> Tensor:
    if tensors[0].ndim > 1:
        size = largest([(tensor.shape[0], tensor.shape[1]) for tensor in tensors])
        tensors = tuple(padded(tensor, size) for tensor in tensors)
    return torch.stack(tensors)
