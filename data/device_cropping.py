"""Random crops of whole batches on a device, equal to those of `data.cropping.RandomCrop` up to rounding.

Scaling is separable. So each crop is its photo between two matrices: one averages or interpolates rows, one columns.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data.cropping import RandomCrop
from data.labels import IGNORE_INDEX
from utils.errors import UserError

Size = tuple[int, int]


class DeviceCrop:
    """The scaling and cropping of a `RandomCrop` for batches on a device.

    Attributes:
        numbers: how many numbers are drawn for a sample: top, left, height and width of the box that becomes the crop,
            and height and width of the photo.

    Raises:
        UserError: `max_class_share` is limited, for which boxes would have to be tried on the device.
    """

    numbers = 6

    def __init__(self, crop: RandomCrop) -> None:
        if crop.max_class_share is not None:
            raise UserError(
                "augmentation.max_class_share: crops are chosen by their classes on the CPU only; pass"
                " data.augment_on=cpu, and data.cache=ram instead of device"
            )
        self.crop, self.size = crop, crop.crop_size

    def draw(self, seed: int, photo: Size) -> np.ndarray:
        """Draw the numbers of one sample from a photo of a size (H, W)."""
        return np.array([*next(self.crop.boxes(photo, seed)), *photo], np.float32)

    def apply(self, images: Tensor, masks: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Crop photos, each of which lies in the upper left corner of its part of the batch.

        Args:
            images: float32 (N, 3, H, W).
            masks: uint8 (N, H, W).
            numbers: float32 (N, 6).
        """
        top, left, height, width, rows, columns = numbers.unbind(1)
        shrinks = (height >= self.size[0]) & (width >= self.size[1])
        vertical = _weights(top, height, rows, shrinks, self.size[0], images.shape[2])
        horizontal = _weights(left, width, columns, shrinks, self.size[1], images.shape[3])
        fill = torch.tensor(self.crop.fill, dtype=torch.float32).view(3, 1, 1).to(images.device, non_blocking=True)
        # Pixels of the padding have no weight, and stay at `fill`.
        cropped = vertical[:, None] @ (images - fill) @ horizontal[:, None].mT + fill
        y = top.long()[:, None] + _nearest(height, self.size[0])
        x = left.long()[:, None] + _nearest(width, self.size[1])
        inside = ((y >= 0) & (y < rows[:, None]))[:, :, None] & ((x >= 0) & (x < columns[:, None]))[:, None]
        places = y.clamp(0, masks.shape[1] - 1)[:, :, None] * masks.shape[2] + x.clamp(0, masks.shape[2] - 1)[:, None]
        found = masks.flatten(1).gather(1, places.flatten(1)).view(inside.shape)
        return cropped, found.where(inside, IGNORE_INDEX)


def _weights(first: Tensor, length: Tensor, end: Tensor, shrinks: Tensor, size: int, extent: int) -> Tensor:
    """Return how much each pixel of a photo counts in each of the crop, along one side: float32 (N, size, extent).

    Args:
        first, length: of the part that becomes the crop, (N,).
        end: the photo's length, (N,); what lies beyond has no weight.
        shrinks: whether pixels are averaged, as by OpenCV's INTER_AREA, or interpolated, as by INTER_LINEAR; (N,).
    """
    first, length, end, shrinks = (values.view(-1, 1, 1) for values in (first, length, end, shrinks))
    i = torch.arange(size, device=first.device)[:, None]
    place = torch.arange(extent, device=first.device)
    j, step = place - first, length / size
    covered = torch.minimum((i + 1) * step, j + 1) - torch.maximum(i * step, j)
    centre = torch.minimum(((i + 0.5) * step - 0.5).clamp(min=0), length - 1)
    weights = torch.where(shrinks, covered / step, 1 - (centre - j).abs()).clamp(min=0)
    return weights * (place < end)


def _nearest(length: Tensor, size: int) -> Tensor:
    """Return which of `length` pixels (N,) has the nearest centre, as `data.masks.resize_mask`: int64 (N, size)."""
    places = (2 * torch.arange(size, device=length.device) + 1) * length.long()[:, None]
    equally_near = places % (2 * size) == 0
    first_of_two = equally_near & (equally_near.cumsum(1) % 2 == 1)
    return places // (2 * size) - first_of_two.long()
