"""Fast-SCNN: Poudel et al. 2019, "Fast-SCNN: Fast Semantic Segmentation Network", arXiv 1902.04502.

Names and numbers follow tables 1 to 3 of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.depthwise import DilatedDepthwise
from models.layers import (
    BatchNorm,
    auxiliary_head,
    check_images,
    check_num_classes,
    check_share,
    conv_norm_act,
    pool_to_bins,
    resize,
)

BINS = (1, 2, 3, 6)


def depthwise_separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise convolution, each with batch norm; ReLU only at the end (section 3.2.1)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
        BatchNorm(in_channels),
        conv_norm_act(in_channels, out_channels, kernel_size=1),
    )


class Bottleneck(nn.Module):
    """Inverted residual (Sandler et al. 2018, arXiv 1801.04381) with expansion factor 6."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        inner = 6 * in_channels
        self.convs = nn.Sequential(
            conv_norm_act(in_channels, inner, kernel_size=1),
            conv_norm_act(inner, inner, stride=stride, groups=inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            BatchNorm(out_channels),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        return x + self.convs(x) if self.residual else self.convs(x)


class PyramidPooling(nn.Module):
    """Averages over 1x1, 2x2, 3x3 and 6x6 regions, each reduced to a quarter of the channels, fused with the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_norm_act(channels, channels // len(BINS), kernel_size=1) for _ in BINS)
        self.out = conv_norm_act(2 * channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        pooled = [resize(conv(pool_to_bins(x, bins)), like=x) for bins, conv in zip(BINS, self.branches, strict=True)]
        return self.out(torch.cat([x, *pooled], dim=1))


class FeatureFusion(nn.Module):
    """Sum of the fine branch and the upsampled deep branch, after a depthwise convolution of dilation 4 (table 3)."""

    def __init__(self, fine: int, deep: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(DilatedDepthwise(deep, 3, dilation=4), BatchNorm(deep), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.Conv2d(deep, out_channels, 1), BatchNorm(out_channels))
        self.fine = nn.Sequential(nn.Conv2d(fine, out_channels, 1), BatchNorm(out_channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        """(N, F, H, W) and (N, D, h, w) -> (N, C, H, W)."""
        return self.activation(self.fine(fine) + self.deep(self.depthwise(resize(deep, like=fine))))


class FastSCNN(nn.Module):
    """Fast-SCNN for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        auxiliary: train with two auxiliary heads, after the learning-to-downsample module and after the global feature
            extractor (section 4; the layers of the heads are not specified), each weighted by `loss.auxiliary_weight`.
            They are skipped in eval mode.
        dropout: probability of the dropout before the last convolution.
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        auxiliary: bool = False,
        dropout: float = 0.1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(dropout=dropout)
        self.learning_to_downsample = nn.Sequential(
            conv_norm_act(in_channels, 32, stride=2),
            depthwise_separable(32, 48, stride=2),
            depthwise_separable(48, 64, stride=2),
        )
        self.global_features = nn.Sequential(
            *(Bottleneck(64, 64, 2), Bottleneck(64, 64, 1), Bottleneck(64, 64, 1)),
            *(Bottleneck(64, 96, 2), Bottleneck(96, 96, 1), Bottleneck(96, 96, 1)),
            *(Bottleneck(96, 128, 1), Bottleneck(128, 128, 1), Bottleneck(128, 128, 1)),
            PyramidPooling(128),
        )
        self.fusion = FeatureFusion(64, 128, 128)
        self.classifier = nn.Sequential(
            depthwise_separable(128, 128),
            depthwise_separable(128, 128),
            nn.Dropout(dropout),
            nn.Conv2d(128, num_classes, 1),
        )
        self.auxiliary = None
        if auxiliary:
            self.auxiliary = nn.ModuleList(auxiliary_head(channels, num_classes, dropout) for channels in (64, 128))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W).

        In training mode with auxiliary heads, a tuple: these logits, then those of the heads, of the same shape.
        """
        check_images(images, self.in_channels)
        fine = self.learning_to_downsample(images)
        deep = self.global_features(fine)
        logits = resize(self.classifier(self.fusion(fine, deep)), like=images)
        if self.auxiliary is None or not self.training:
            return logits
        heads = zip(self.auxiliary, (fine, deep), strict=True)
        return logits, *(resize(head(features), like=images) for head, features in heads)
