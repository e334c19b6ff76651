"""ESPNet: Singha et al. 2020, "Efficient Segmentation Pyramid Network", ICONIP.

S0, S1 and S2 consist of an EfficientNet encoder, pyramid pooling and a small classifier. The final network fuses fine
features before the classifier. (This is not the dilated "ESPNet" of Mehta et al. 2018.)

Differences from the authors' code: their pyramid convolutions have stride 2, which halves pooled maps of 2x2 and larger
(the same parameters, and 0.008 G fewer multiply-adds at 512x512; the published figures are consistent with both); ours
have stride 1. Their upsampling is nearest (`interpolation=nearest`); the default here is bilinear.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models.encoders import EfficientNetEncoder
from models.layers import (
    BatchNorm,
    Interpolation,
    as_in_efficientnet,
    auxiliary_head,
    check_images,
    check_interpolation,
    check_num_classes,
    check_share,
    conv_norm_act,
    pool_to_bins,
    resize,
    separable_norm_act,
)

BINS = (1, 2, 3, 6)
POOLED, WIDTH = 80, 128  # channels of each pooled map, and of fusion and classifier


class PyramidPooling(nn.Module):
    """The map, concatenated with convolutions of its averages over 1x1, 2x2, 3x3 and 6x6 regions."""

    def __init__(self, in_channels: int, interpolation: Interpolation) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(in_channels, POOLED, 3, padding=1) for _ in BINS)
        self.interpolation: Interpolation = interpolation
        self.out_channels = in_channels + POOLED * len(BINS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + 320, H, W)."""
        pooled = [conv(pool_to_bins(x, bins)) for bins, conv in zip(BINS, self.branches, strict=True)]
        return torch.cat([x, *(resize(y, x, self.interpolation) for y in pooled)], dim=1)


class FeatureFusion(nn.Module):
    """Sum of the pyramid's output and the encoder's features of stride 4, each projected to 128 channels."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.depthwise = conv_norm_act(in_channels, in_channels, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, WIDTH, 1)
        self.skip = nn.Conv2d(skip_channels, WIDTH, 1)
        self.norm = nn.Sequential(BatchNorm(WIDTH), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, H, W) and (N, S, H, W) -> (N, 128, H, W)."""
        return self.norm(self.pointwise(self.depthwise(x)) + self.skip(skip))


class ESPNet(nn.Module):
    """ESPNet for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        encoder: `efficientnet_b0` for S0 and the final network, `efficientnet_b1` for S1, `efficientnet_b2` for S2;
            or any other EfficientNet, such as `efficientnet_lite0`.
        fusion: fuse encoder features of stride 4, as the final network does.
        dropout: probability of the dropout before the logits are upsampled.
        interpolation: upsampling method: `bilinear`, or `nearest` as in the authors' code.
        auxiliary: train with an auxiliary head after the encoder, weighted by `loss.auxiliary_weight`; skipped in eval
            mode. (Not in the paper.)
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        encoder: str = "efficientnet_b0",
        fusion: bool = False,
        dropout: float = 0.3,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
        auxiliary: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(dropout=dropout)
        check_interpolation(interpolation)
        self.interpolation: Interpolation = interpolation
        self.encoder = EfficientNetEncoder(encoder, stages=(2, 7), in_channels=in_channels)
        fine, coarse = self.encoder.channels
        self.pyramid = PyramidPooling(coarse, interpolation)
        width = self.pyramid.out_channels
        self.fusion = FeatureFusion(width, fine) if fusion else None
        self.classifier = nn.Sequential(
            separable_norm_act(WIDTH if fusion else width, WIDTH),
            separable_norm_act(WIDTH, WIDTH),
            nn.Conv2d(WIDTH, num_classes, 1),
            BatchNorm(num_classes),
            nn.Dropout(dropout),
        )
        self.auxiliary = auxiliary_head(coarse, num_classes, dropout) if auxiliary else None
        for name, part in self.named_children():
            if name != "encoder":
                as_in_efficientnet(part)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W).

        In training mode with an auxiliary head, a tuple: these logits, then those of the head, of the same shape.
        """
        check_images(images, self.in_channels)
        fine, coarse = self.encoder(images)
        x = resize(self.pyramid(coarse), fine, self.interpolation)
        if self.fusion is not None:
            x = self.fusion(x, fine)
        logits = resize(self.classifier(x), images, self.interpolation)
        if self.auxiliary is None or not self.training:
            return logits
        return logits, resize(self.auxiliary(coarse), images, self.interpolation)
