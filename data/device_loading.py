"""Batches that are kept, or at least augmented, on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from data.augmentation import Augmentation, sample_seed
from data.device_augmentation import DeviceAugmentation
from data.loading import Key, TrainingBatch, TrainingLoader, ValidationBatch, ValidationLoader, as_tensor
from data.samples import SegmentationDataset
from data.statistics import in_threads
from utils.errors import UserError
from utils.text import plural


class DeviceTrainingLoader(TrainingLoader):
    """Training batches that are augmented on the device.

    Args:
        keep: keep all samples on the device, padded to one size; otherwise worker processes read them.
        options: the other arguments of `TrainingLoader`.

    Raises:
        UserError: the augmentation is not supported on devices, or the samples do not fit.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        augmentation: Augmentation,
        *,
        image_size: tuple[int, int],
        device: torch.device,
        keep: bool,
        **options: Any,
    ) -> None:
        self.device, self.augmentation = device, DeviceAugmentation(augmentation, image_size)
        if self.augmentation.output_size != image_size:
            raise UserError(
                f"augmentation: samples come out as {self.augmentation.output_size}, not as"
                f" data.image_size={list(image_size)}; end the list of transforms with a crop to that size"
            )
        self.sizes = [samples.size(index) for index in range(len(samples))] if keep else None
        if self.sizes is not None:
            images, masks = loaded(samples, largest(self.sizes), device)
            self.kept = images, torch.stack([padded(mask, largest(self.sizes)) for mask in masks])
        super().__init__(samples, augmentation, image_size=image_size, **options)

    def items(self, samples: SegmentationDataset, augmentation: Augmentation, seed: int) -> Dataset:
        return _DrawnSamples(samples, self.augmentation, seed, self.sizes)

    @staticmethod
    def collate(samples: list[tuple[Any, ...]]) -> Any:
        """Stack each field, the names aside, which come last; images and masks are padded to one size."""
        *tensors, names = zip(*samples, strict=True)
        return (*map(_stacked, tensors), list(names))

    def __iter__(self) -> Iterator[TrainingBatch]:  # type: ignore[override]
        for *tensors, names in super().__iter__():
            *found, drawn = [tensor.to(self.device, non_blocking=True) for tensor in tensors]
            if self.sizes is None:
                images, masks = found[0].permute(0, 3, 1, 2), found[1]
            else:
                images, masks = (pixels[found[0]] for pixels in self.kept)
            yield TrainingBatch(*self.augmentation(images, masks, drawn), names)


class DeviceValidationLoader(ValidationLoader):
    """Validation batches of samples that are kept on the device.

    Args:
        options: the other arguments of `ValidationLoader`.

    Raises:
        UserError: the samples do not fit.
    """

    def __init__(
        self, samples: SegmentationDataset, *, image_size: tuple[int, int], device: torch.device, **options: Any
    ) -> None:
        super().__init__(samples, **options)
        self.names = [samples.name(index) for index in range(len(samples))]
        self.images, self.masks = loaded(samples, image_size, device)

    def __iter__(self) -> Iterator[ValidationBatch]:  # type: ignore[override]
        for indices in self.order:
            some = slice(indices[0], indices[-1] + 1) if indices else slice(0)
            yield ValidationBatch(self.images[some], self.masks[some], self.names[some], self.fit)


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

    def load(index: int) -> Tensor:
        image, mask, _ = samples[index]
        images[index, : image.shape[0], : image.shape[1]] = as_tensor(image)
        return as_tensor(mask).to(device)

    masks = in_threads(load, range(len(samples)), "loading")
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


def _stacked(tensors: tuple[Tensor, ...]) -> Tensor:
    if tensors[0].ndim > 1:
        size = largest([(tensor.shape[0], tensor.shape[1]) for tensor in tensors])
        tensors = tuple(padded(tensor, size) for tensor in tensors)
    return torch.stack(tensors)
