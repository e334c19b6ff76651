"""DeepLabV3+: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
arXiv 1802.02611."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoders import EfficientNetEncoder, build_encoder
from models.layers import (
    BatchNorm,
    as_classifier,
    as_in_efficientnet,
    check_images,
    check_num_classes,
    check_share,
    conv_norm_act,
    resize,
    separable_norm_act,
)
from models.memory_layout import in_layout_of

WIDTH, FINE = 256, 48  # channels of pyramid and decoder, and of the projected low-level features
RATES = (6, 12, 18)  # at output stride 16


def atrous_conv(in_channels: int, rate: int, separable: bool) -> nn.Sequential:
    """3x3 convolution of dilation `rate`, batch norm, ReLU."""
    if separable:
        return separable_norm_act(in_channels, WIDTH, dilation=rate)
    conv = nn.Conv2d(in_channels, WIDTH, 3, padding=rate, dilation=rate, bias=False)
    return nn.Sequential(conv, BatchNorm(WIDTH), nn.ReLU(inplace=True))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the global average in parallel, then 1x1."""

    def __init__(self, in_channels: int, rates: tuple[int, ...], separable: bool, dropout: float) -> None:
        super().__init__()
        self.pointwise = conv_norm_act(in_channels, WIDTH, kernel_size=1)
        self.atrous = nn.ModuleList(atrous_conv(in_channels, rate, separable) for rate in rates)
        self.image = conv_norm_act(in_channels, WIDTH, kernel_size=1)
        self.project = nn.Sequential(conv_norm_act((len(rates) + 2) * WIDTH, WIDTH, kernel_size=1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 256, H, W)."""
        image = in_layout_of(x, self.image(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[-2:]))
        return self.project(torch.cat([self.pointwise(x), *(conv(x) for conv in self.atrous), image], dim=1))


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        encoder: `xception65` (the paper's aligned Xception) or any other encoder of timm; `efficientnet_b0` to
            `efficientnet_b7`, `efficientnet_lite0` to `efficientnet_lite2`.
        output_stride: stride of the encoder's coarsest map: 16 or 8; 8 doubles the dilations of the pyramid.
        separable: use depthwise-separable convolutions in pyramid and decoder.
        dropout: probability of the dropout after the pyramid.
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        encoder: str = "xception65",
        output_stride: Literal[8, 16] = 16,
        separable: bool = False,
        dropout: float = 0.1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(dropout=dropout)
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride={output_stride}: must be 8 or 16")
        self.encoder = build_encoder(encoder, output_stride, in_channels)
        if 4 not in self.encoder.strides:
            raise ValueError(f"encoder={encoder} has no features of stride 4, which the decoder needs")
        self.fine_index = self.encoder.strides.index(4)
        fine, deep = self.encoder.channels[self.fine_index], self.encoder.channels[-1]
        rates = tuple(rate * 16 // output_stride for rate in RATES)
        self.aspp = ASPP(deep, rates, separable, dropout)
        self.fine = conv_norm_act(fine, FINE, kernel_size=1)
        conv = separable_norm_act if separable else conv_norm_act
        self.decoder = nn.Sequential(conv(WIDTH + FINE, WIDTH), conv(WIDTH, WIDTH))
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        if isinstance(self.encoder, EfficientNetEncoder):
            for part in (self.aspp, self.fine, self.decoder):
                as_in_efficientnet(part)
            as_classifier(self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        maps = self.encoder(images)
        fine = self.fine(maps[self.fine_index])
        x = self.decoder(torch.cat([resize(self.aspp(maps[-1]), like=fine), fine], dim=1))
        return resize(self.classifier(x), like=images)
