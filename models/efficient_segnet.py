"""EfficientSegNet: an EfficientNet-B0 encoder and a SegNet-style decoder, for Cityscapes image pairs.

The encoder is Tan and Le 2019, arXiv 1905.11946. Each decoder block doubles the size with a transposed convolution,
adds the encoder's features, and applies a 3x3 convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.encoders import EfficientNetEncoder
from models.layers import BatchNorm, as_classifier, as_in_efficientnet, check_images, check_num_classes, resize


class Decoder(nn.Module):
    """Transposed 2x2 convolution of stride 2, sum with the skip connection, 3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.smooth = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1), BatchNorm(out_channels), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """(N, C, h, w) and a skip connection of any size, or None -> (N, C', H, W); `size` = (H, W) <= (2h, 2w)."""
        x = self.up(x)[..., : size[0], : size[1]]
        return self.smooth(x if skip is None else x + resize(skip, like=x))


class EfficientSegNet(nn.Module):
    """EfficientNet-B0 and SegNet decoder, for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        encoder: `efficientnet_b0` (as published) to `efficientnet_b7`, `efficientnet_lite0` to `efficientnet_lite2`.
        in_channels: number of channels of the images.
    """

    def __init__(self, num_classes: int, encoder: str = "efficientnet_b0", in_channels: int = 3) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.encoder = EfficientNetEncoder(encoder, stages=(2, 3, 4, 5, 7), head=True, in_channels=in_channels)
        *skips, coarse = self.encoder.channels  # 24, 40, 80, 112 and 1280
        widths = [*reversed(skips), skips[0]]
        self.decoders = nn.ModuleList(
            Decoder(before, width) for before, width in zip([coarse, *widths], widths, strict=False)
        )
        self.classifier = nn.Conv2d(widths[-1], num_classes, 1)
        as_in_efficientnet(self.decoders)
        as_classifier(self.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        height, width = images.shape[-2:]
        *skips, x = self.encoder(images)
        for decoder, skip, stride in zip(self.decoders, [*reversed(skips), None], (16, 8, 4, 2, 1), strict=True):
            x = decoder(x, skip, ((height + stride - 1) // stride, (width + stride - 1) // stride))
        return self.classifier(x)
