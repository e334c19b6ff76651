"""Separable U-Net: a small U-Net with depthwise-separable convolutions, a baseline of the ESPNet paper.

The overall shape follows Ronneberger et al. 2015, arXiv 1505.04597, and the convolutions follow MobileNet (Howard et
al. 2017, arXiv 1704.04861).

Differences from the code of the ESPNet authors: there, a 2x2 convolution follows each upsampling (here a
separable 3x3), a 3x3 convolution to 2 channels comes before the classifier, which is a
bottleneck if there are many classes (here none), the deepest skip connection has dropout too (here only the lowest
resolution), and upsampling is nearest (`interpolation=nearest`; the default here is bilinear).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import (
    Interpolation,
    check_images,
    check_interpolation,
    check_num_classes,
    check_share,
    conv_norm_act,
    resize,
    separable_norm_act,
)

WIDTHS = (16, 32, 64, 128)
MIDDLE = 256


class Up(nn.Module):
    """Upsampling, separable convolution, concatenation with the encoder's features, two separable convolutions."""

    def __init__(self, in_channels: int, out_channels: int, interpolation: Interpolation) -> None:
        super().__init__()
        self.interpolation: Interpolation = interpolation
        self.narrow = separable_norm_act(in_channels, out_channels)
        self.convs = nn.Sequential(
            separable_norm_act(2 * out_channels, out_channels), separable_norm_act(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C', H, W) -> (N, C', H, W)."""
        return self.convs(torch.cat([skip, self.narrow(resize(x, skip, self.interpolation))], dim=1))


class SeparableUNet(nn.Module):
    """Separable U-Net with 16 to 256 channels, for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        dropout: probability of the dropout at the lowest resolution.
        interpolation: upsampling method, `bilinear` or `nearest`.
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.5,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(dropout=dropout)
        check_interpolation(interpolation)
        self.downs = nn.ModuleList(
            nn.Sequential(conv_norm_act(before, width), separable_norm_act(width, width))
            for before, width in zip((in_channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.middle = nn.Sequential(
            separable_norm_act(WIDTHS[-1], MIDDLE), separable_norm_act(MIDDLE, MIDDLE), nn.Dropout(dropout)
        )
        self.ups = nn.ModuleList(
            Up(below, width, interpolation) for below, width in zip((MIDDLE, *WIDTHS[:0:-1]), WIDTHS[::-1], strict=True)
        )
        self.classifier = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        x, skips = images, []
        for down in self.downs:
            skips.append(down(x))
            x = F.max_pool2d(skips[-1], 2, ceil_mode=True)
        x = self.middle(x)
        for up in self.ups:
            x = up(x, skips.pop())
        return self.classifier(x)
