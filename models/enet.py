"""ENet: Paszke et al. 2016, "ENet: A Deep Neural Network Architecture for Real-Time Semantic
Segmentation", arXiv 1606.02147. Names and numbers follow table 1 and figure 2 of the paper.

Differences from the authors' Torch code, in details that the paper does not specify: its down- and upsampling
bottlenecks reduce to `out_channels // 4` (here `in_channels // 4`, as in davidtvs/PyTorch-ENet), its batch norms have
eps 1e-3 (here PyTorch's 1e-5), and its full convolution is 2x2 (here 3x3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import (
    Doubling,
    MaxPool,
    MaxUnpool,
    PReLU,
    auxiliary_head,
    check_images,
    check_num_classes,
    check_share,
    pad_to_even,
    resize,
)


class InitialBlock(nn.Module):
    """3x3 convolution of stride 2 (13 channels), concatenated with the max-pooled image.

    Of images of more than three channels, only the first three are pooled.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.pooled = min(in_channels, 3)
        self.conv = nn.Conv2d(in_channels, 16 - self.pooled, 3, stride=2, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.norm = nn.BatchNorm2d(16)
        self.activation = PReLU(16)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 16, ceil(H/2), ceil(W/2))."""
        return self.activation(self.norm(torch.cat([self.conv(x), self.pool(x[:, : self.pooled])], dim=1)))


def _activation(channels: int, decoder: bool) -> nn.Module:
    """PReLU in the encoder, ReLU in the decoder (sections 4 and 5.1)."""
    return nn.ReLU() if decoder else PReLU(channels)


def _projection(in_channels: int, out_channels: int, decoder: bool) -> nn.Sequential:
    """The 1x1 convolution at the start of a bottleneck, which reduces its channels."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        _activation(out_channels, decoder),
    )


def _expansion(in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    """The 1x1 convolution at the end of a bottleneck, which restores its channels, and spatial dropout."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.Dropout2d(dropout),
    )


class Bottleneck(nn.Module):
    """Residual bottleneck: 1x1 to a quarter of the channels, main convolution, 1x1 back.

    Args:
        channels: channels of input and output.
        dropout: probability of the spatial dropout.
        dilation: dilation of the 3x3 convolution.
        asymmetric: 0, or the length k of a kx1 convolution followed by a 1xk one.
        decoder: use ReLU instead of PReLU.
    """

    def __init__(
        self, channels: int, dropout: float, dilation: int = 1, asymmetric: int = 0, decoder: bool = False
    ) -> None:
        super().__init__()
        inner = channels // 4
        if asymmetric:
            k, p = asymmetric, asymmetric // 2
            main: nn.Module = nn.Sequential(
                nn.Conv2d(inner, inner, (k, 1), padding=(p, 0), bias=False),
                nn.Conv2d(inner, inner, (1, k), padding=(0, p), bias=False),
            )
        else:
            main = nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False)
        self.branch = nn.Sequential(
            _projection(channels, inner, decoder),
            main,
            nn.BatchNorm2d(inner),
            _activation(inner, decoder),
            _expansion(inner, channels, dropout),
        )
        self.activation = _activation(channels, decoder)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.activation(x + self.branch(x))


class Downsampling(nn.Module):
    """Bottleneck that halves the size. Its first convolution is 2x2 of stride 2; its shortcut is max-pooled and padded
    with zero channels."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = in_channels // 4
        self.pool = MaxPool()
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, inner, 2, stride=2, bias=False), nn.BatchNorm2d(inner), PReLU(inner)
        )
        self.branch = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            PReLU(inner),
            _expansion(inner, out_channels, dropout),
        )
        self.extra_channels = out_channels - in_channels
        self.activation = PReLU(out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> ((N, C', ceil(H/2), ceil(W/2)), indices of the max pooling)."""
        pooled, indices = self.pool(x)
        padded = F.pad(pooled, (0, 0, 0, 0, 0, self.extra_channels))
        return self.activation(padded + self.branch(self.reduce(pad_to_even(x)))), indices


class Upsampling(nn.Module):
    """Bottleneck that doubles the size with a transposed convolution. Its shortcut is a 1x1 convolution, unpooled with
    the indices of the encoder's max pooling."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = in_channels // 4
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.unpool = MaxUnpool()
        self.reduce = _projection(in_channels, inner, decoder=True)
        self.deconv = Doubling(inner, inner, bias=False)
        self.norm = nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU())
        self.expand = _expansion(inner, out_channels, dropout)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, h, w) and indices of the max pooling -> (N, C', H, W) for `size` = (H, W)."""
        shortcut = self.unpool(self.shortcut(x), indices, size)
        branch = self.norm(self.deconv(self.reduce(x), size))
        return self.activation(shortcut + self.expand(branch))


class ENet(nn.Module):
    """ENet for images of any size from 32x32, odd sizes included.

    Args:
        num_classes: number of classes.
        encoder_dropout: probability of the spatial dropout before bottleneck2.0.
        dropout: probability of the spatial dropout from bottleneck2.0 on.
        auxiliary: train with an auxiliary head after the encoder, weighted by `loss.auxiliary_weight`; skipped in eval
            mode. (The paper trains the encoder on its own first, section 5.1.)
        in_channels: number of channels of the images.
    """

    def __init__(
        self,
        num_classes: int,
        encoder_dropout: float = 0.01,
        dropout: float = 0.1,
        auxiliary: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes, self.in_channels = num_classes, in_channels
        check_share(encoder_dropout=encoder_dropout, dropout=dropout)
        self.initial = InitialBlock(in_channels)
        self.down1 = Downsampling(16, 64, encoder_dropout)
        self.stage1 = nn.Sequential(*[Bottleneck(64, encoder_dropout) for _ in range(4)])
        self.down2 = Downsampling(64, 128, dropout)
        self.stage2 = self._context(dropout)
        self.stage3 = self._context(dropout)
        self.up4 = Upsampling(128, 64, dropout)
        self.stage4 = nn.Sequential(*[Bottleneck(64, dropout, decoder=True) for _ in range(2)])
        self.up5 = Upsampling(64, 16, dropout)
        self.stage5 = Bottleneck(16, dropout, decoder=True)
        self.fullconv = Doubling(16, num_classes)
        self.auxiliary = auxiliary_head(128, num_classes, dropout) if auxiliary else None

    @staticmethod
    def _context(dropout: float) -> nn.Sequential:
        """Sections 2.1 to 2.8 of table 1: regular, dilated and asymmetric bottlenecks."""
        return nn.Sequential(
            Bottleneck(128, dropout),
            Bottleneck(128, dropout, dilation=2),
            Bottleneck(128, dropout, asymmetric=5),
            Bottleneck(128, dropout, dilation=4),
            Bottleneck(128, dropout),
            Bottleneck(128, dropout, dilation=8),
            Bottleneck(128, dropout, asymmetric=5),
            Bottleneck(128, dropout, dilation=16),
        )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> logits (N, num_classes, H, W).

        In training mode with an auxiliary head, a tuple: these logits, then those of the head, of the same shape.
        """
        check_images(images, self.in_channels)
        half = self.initial(images)
        quarter, indices1 = self.down1(half)
        quarter = self.stage1(quarter)
        eighth, indices2 = self.down2(quarter)
        eighth = self.stage3(self.stage2(eighth))
        x = self.stage4(self.up4(eighth, indices2, quarter.shape[-2:]))
        x = self.stage5(self.up5(x, indices1, half.shape[-2:]))
        logits = self.fullconv(x, images.shape[-2:])
        if self.auxiliary is None or not self.training:
            return logits
        return logits, resize(self.auxiliary(eighth), like=images)
