"""EfficientDet for segmentation: Tan et al. 2020, "EfficientDet: Scalable and Efficient Object Detection",
arXiv 1911.09070, section 5.2, and a version with a second top-down pathway in the style of PANet (Liu et al. 2018,
arXiv 1803.01534)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.bifpn import BiFPN
from models.encoders import EfficientNetEncoder
from models.layers import (
    BatchNorm,
    as_classifier,
    as_in_efficientnet,
    check_images,
    check_num_classes,
    resize,
    separable_conv,
)


class Size(NamedTuple):
    """Channels and layers of the BiFPN. The paper's head always has 3 layers of twice the channels."""

    channels: int
    layers: int


SIZES = (Size(64, 2), Size(80, 2), Size(96, 3), Size(112, 3), Size(128, 3), Size(160, 4), Size(192, 4), Size(224, 5))
"""D0 to D7. The paper has D4 for segmentation; the others scale it with the encoders B0 to B7. (The published D7, a
detector, has encoder B6 and larger images; D7x has B7.)"""


class PaperHead(nn.Module):
    """The paper's head: three separable convolutions on P2 only, and logits at stride 4 (section 5.2)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        width = 2 * channels
        self.convs = nn.Sequential(
            *(
                nn.Sequential(separable_conv(before, width), BatchNorm(width), nn.SiLU())
                for before in (channels, width, width)
            )
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        """P2 to P7 -> logits (N, num_classes, ceil(H/4), ceil(W/4)) of an image of `size` = (H, W)."""
        return self.classifier(self.convs(levels[0]))


class TopDownHead(nn.Module):
    """A second top-down pathway from P7 to P2, which concatenates each level, and two steps to the size of the image.

    The last two steps halve the channels, because their maps are the largest.
    """

    def __init__(self, channels: int, num_classes: int, levels: int = BiFPN.LEVELS) -> None:
        super().__init__()
        widths = [(channels, channels)] + [(2 * channels, channels)] * (levels - 2)
        self.steps = nn.ModuleList(self._step(before, width) for before, width in widths)
        self.to_half, self.to_full = self._step(2 * channels, channels // 2), self._step(channels // 2, channels // 4)
        self.classifier = nn.Conv2d(channels // 4, num_classes, 1)

    @staticmethod
    def _step(in_channels: int, out_channels: int) -> nn.Sequential:
        up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)
        return nn.Sequential(up, BatchNorm(out_channels), nn.SiLU())

    def forward(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        """P2 to P7 -> logits (N, num_classes, H, W) of an image of `size` = (H, W)."""
        height, width = size
        *finer, x = levels
        for step, level in zip(self.steps, reversed(finer), strict=True):
            x = torch.cat([step(x)[..., : level.shape[-2], : level.shape[-1]], level], dim=1)
        x = self.to_half(x)[..., : (height + 1) // 2, : (width + 1) // 2]
        return self.classifier(self.to_full(x)[..., :height, :width])


class EfficientDetSeg(nn.Module):
    """EfficientDet D0 to D7 for segmentation, for images of any size from 32x32.

    Args:
        num_classes: number of classes.
        compound: k of D_k, which selects the encoder B_k and the size of the pyramid (`SIZES`).
        encoder: None for B_k, or the name of another EfficientNet, such as `efficientnet_lite0`.
        head: `topdown`, or `p2`, the paper's, whose logits are upsampled from stride 4.
        fusion: how the pyramid combines maps: `fast_normalised` or `sum`.
        checkpointing: save memory in training by recomputing the blocks of the encoder in the backward pass.
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        compound: int = 4,
        encoder: str | None = None,
        head: Literal["topdown", "p2"] = "topdown",
        fusion: Literal["fast_normalised", "sum"] = "fast_normalised",
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        if not 0 <= compound < len(SIZES):
            raise ValueError(f"compound={compound}: must be from D0 to D{len(SIZES) - 1}")
        if head not in ("topdown", "p2"):
            raise ValueError(f"head={head}: must be topdown or p2")
        name = encoder or f"efficientnet_b{compound}"
        self.encoder = EfficientNetEncoder(
            name, stages=(2, 3, 5, 7), checkpointing=checkpointing, in_channels=in_channels
        )
        channels, layers = SIZES[compound]
        self.bifpn = BiFPN(self.encoder.channels, channels, layers, fusion, finest_only=head == "p2")
        self.head = (PaperHead if head == "p2" else TopDownHead)(channels, num_classes)
        as_in_efficientnet(self.bifpn)
        as_in_efficientnet(self.head)
        as_classifier(self.head.classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W)."""
        check_images(images, self.in_channels)
        logits = self.head(self.bifpn(self.encoder(images)), images.shape[-2:])
        return logits if logits.shape[-2:] == images.shape[-2:] else resize(logits, like=images)
