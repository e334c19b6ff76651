"""From the bytes of a batch to what a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalization:
    """(x / 255 - mean) / std per channel; the defaults are the RGB statistics of ImageNet."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __call__(self, images: Tensor, channels_last: bool = False) -> Tensor:
        """Values from 0 to 255 (N, 3, H, W), uint8 or float32 -> float32 of that shape, on the images' device."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        floats = images.to(torch.float32, memory_format=layout, copy=True)
        return floats.sub_(_on(images.device, self.mean)).div_(_on(images.device, self.std))

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, as a checkpoint stores them."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, stored: dict[str, list[float]]) -> Normalization:
        """The inverse of `to_dict`."""
        return cls(tuple(stored["mean"]), tuple(stored["std"]))


@cache
def _on(device: torch.device, values: tuple[float, ...]) -> Tensor:
    """A value a channel, as images have it: kept, since a device has to be waited for to get it there."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1) * 255


IMAGENET = Normalization()


def normalization_of(model: nn.Module) -> Normalization:
    """What a network's weights were trained with.

    The network's own `input_mean` and `input_std`, which came with a checkpoint, else its encoder's, which came with
    pretrained weights, else ImageNet's.
    """
    for module in model.modules():  # the network itself comes first
        mean, std = getattr(module, "input_mean", None), getattr(module, "input_std", None)
        if mean is not None and std is not None:
            return Normalization(tuple(mean), tuple(std))
    return IMAGENET
