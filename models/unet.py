"""U-Net: Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation", arXiv 1505.04597.

With batch norm and padded convolutions, so that the mask has the size of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import check_images, check_num_classes, conv_norm_act

WIDTHS = (64, 128, 256, 512, 1024)


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by batch norm and ReLU."""
    return nn.Sequential(conv_norm_act(in_channels, out_channels), conv_norm_act(out_channels, out_channels))


class Up(nn.Module):
    """Transposed 2x2 convolution, concatenation with the encoder's features, double convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.convs = double_conv(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, ceil(H/2), ceil(W/2)) and (N, C', H, W) -> (N, C', H, W)."""
        x = self.up(x)[..., : skip.shape[-2], : skip.shape[-1]]
        return self.convs(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    """U-Net with 64 to 1024 channels, for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        in_channels: number of channels of the images.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.downs = nn.ModuleList(
            double_conv(before, width) for before, width in zip((in_channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.ups = nn.ModuleList(Up(width, above) for width, above in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.classifier = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        maps = [self.downs[0](images)]
        for down in self.downs[1:]:
            maps.append(down(F.max_pool2d(maps[-1], 2, ceil_mode=True)))
        x = maps.pop()
        for up in self.ups:
            x = up(x, maps.pop())
        return self.classifier(x)
