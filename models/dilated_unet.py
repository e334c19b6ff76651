"""Dilated U-Net: a U-Net whose blocks are parallel dilated depthwise-separable convolutions.

The overall shape follows Ronneberger et al. 2015, arXiv 1505.04597, and the dilations follow Yu and Koltun 2016,
"Multi-Scale Context Aggregation by Dilated Convolutions", arXiv 1511.07122.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import BatchNorm, check_images, check_num_classes, resize, separable_conv

DILATIONS = (1, 2, 3)
WIDTHS = (48, 96, 192, 384, 768)  # a third for each dilation


class SubModel(nn.Module):
    """3x3 separable convolutions of dilation 1, 2 and 3 in parallel, concatenated, then batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            separable_conv(in_channels, out_channels // len(DILATIONS), dilation=dilation) for dilation in DILATIONS
        )
        self.norm = nn.Sequential(BatchNorm(out_channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        return self.norm(torch.cat([branch(x) for branch in self.branches], dim=1))


class DilatedUNet(nn.Module):
    """Dilated U-Net with 48 to 768 channels, for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        in_channels: number of channels of the images.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.downs = nn.ModuleList(
            SubModel(before, width) for before, width in zip((in_channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.ups = nn.ModuleList(
            SubModel(below + width, width) for below, width in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.classifier = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        maps = [self.downs[0](images)]
        for down in self.downs[1:]:
            maps.append(down(F.max_pool2d(maps[-1], 2, ceil_mode=True)))
        x = maps.pop()
        for up in self.ups:
            skip = maps.pop()
            x = up(torch.cat([skip, resize(x, like=skip)], dim=1))
        return self.classifier(x)
