"""Normalisation of images, from bytes to the input of a network."""

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
        """Return normalised images float32 (N, C, H, W) of uint8 or float32 ones from 0 to 255, on their device."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        floats = images.to(torch.float32, memory_format=layout, copy=True)
        return floats.sub_(_on(images.device, self.mean)).div_(_on(images.device, self.std))

    def to_dict(self) -> dict[str, list[float]]:
        """Return the values as plain lists, for a checkpoint."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, stored: dict[str, list[float]]) -> Normalization:
        """Restore what `to_dict` returned."""
        return cls(tuple(stored["mean"]), tuple(stored["std"]))


@cache
def _on(device: torch.device, values: tuple[float, ...]) -> Tensor:
    """Return one value per channel, shaped for images. Cached, since copying it to a device waits for the device."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1) * 255


IMAGENET = Normalization()


def normalization_of(model: nn.Module) -> Normalization:
    """Return the normalisation that the weights of a network were trained with.

    It is read from `input_mean` and `input_std` of the network (set from a checkpoint), or else of its encoder (set
    with pretrained weights). The default is ImageNet's.
    """
    for module in model.modules():  # the network itself comes first
        mean, std = getattr(module, "input_mean", None), getattr(module, "input_std", None)
        if mean is not None and std is not None:
            return Normalization(tuple(mean), tuple(std))
    return IMAGENET
