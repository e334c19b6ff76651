"""Layers that several architectures share, and what all of them check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 32
"""Least height and width of an image: five halvings leave one pixel."""


def check_num_classes(num_classes: int) -> None:
    """
    Raises:
        ValueError: fewer than one class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes={num_classes}: a network needs 1 class or more")


def check_images(images: Tensor) -> None:
    """
    Raises:
        ValueError: not (N, 3, H, W) with H and W from 32, with what to do about it.
    """
    if images.ndim != 4:
        raise ValueError(f"images of shape {tuple(images.shape)}: expected (N, 3, H, W); images[None] is a batch of 1")
    channels, height, width = images.shape[1:]
    if channels != 3:
        hint = "images.expand(-1, 3, -1, -1) copies one" if channels == 1 else "images[:, :3] takes the first three"
        raise ValueError(f"images of {channels} channels: expected 3 (RGB); {hint}")
    if height < SMALLEST or width < SMALLEST:
        raise ValueError(f"images of {height}x{width}: {SMALLEST}x{SMALLEST} is the least; resize them or pad them")


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that trains with one value a channel too.

    Such a value has no variance, and PyTorch refuses it: a batch of one at a 1x1 map. The running statistics serve
    there, as in eval mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution to ceil(size / stride) places, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def separable_conv(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 convolution to ceil(size / stride) places, then a pointwise one; no biases."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
    )


def separable_norm_act(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Separable 3x3 convolution, batch norm, ReLU."""
    conv = separable_conv(in_channels, out_channels, stride, dilation)
    return nn.Sequential(conv, BatchNorm(out_channels), nn.ReLU(inplace=True))


Interpolation = Literal["bilinear", "nearest"]


def check_interpolation(interpolation: str) -> None:
    """
    Raises:
        ValueError: neither `bilinear` nor `nearest`.
    """
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"interpolation={interpolation}: must be bilinear or nearest")


def resize(x: Tensor, like: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Interpolates to the height and width of another tensor."""
    corners = False if interpolation == "bilinear" else None
    return F.interpolate(x, size=like.shape[-2:], mode=interpolation, align_corners=corners)


def pool_to_bins(x: Tensor, bins: int) -> Tensor:
    """Averages over bins x bins regions: (N, C, H, W) -> (N, C, bins, bins), as `F.adaptive_avg_pool2d`.

    For ONNX, which has no such operation, as two matrix products that fit every size of the map.
    """
    if bins == 1 or not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(x, bins)
    rows, columns = (_regions(bins, size).to(x) for size in x.shape[-2:])
    return rows @ x @ columns.T


def _regions(bins: int, length: int) -> Tensor:
    """What each place of a side counts in each region, float32 (bins, length); regions may overlap by a place."""
    region, place = torch.arange(bins)[:, None], torch.arange(length)
    inside = (place >= region * length // bins) & (place < ((region + 1) * length + bins - 1) // bins)
    return inside / inside.sum(1, keepdim=True)


class PReLU(nn.PReLU):
    """As it is in PyTorch. In ONNX it is written as two 1x1 convolutions of a channel each, a * x + (1 - a) * relu(x),
    which ONNX Runtime makes one with what stands around them; of its PRelu it makes a third of ENet's time."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.onnx.is_in_onnx_export():
            return super().forward(x)
        slope, channels = self.weight.view(-1, 1, 1, 1), self.num_parameters
        return F.conv2d(x, slope, groups=channels) + F.conv2d(F.relu(x), 1 - slope, groups=channels)


class MaxPool(nn.Module):
    """Max pooling 2x2 of stride 2 to ceil(size / 2) places, with what `MaxUnpool` needs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> values and their indices, int64: positions in the flattened map of each channel, in ONNX in
        the whole flattened tensor."""
        if not torch.onnx.is_in_onnx_export():
            return F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        rows, columns = ((size - 1) // 2 + 1 for size in x.shape[-2:])
        shape = (*x.shape[:2], rows, columns)
        values, indices = torch.onnx.ops.symbolic_multi_out(
            "MaxPool",
            (x,),
            {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1},
            dtypes=(x.dtype, torch.int64),
            shapes=(shape, shape),
        )
        return values, indices


class MaxUnpool(nn.Module):
    """Puts pooled values back where a max pooling took them from; zeros elsewhere.

    Equal, bit for bit, to `torch.nn.MaxUnpool2d`, but written as a scatter, which ONNX export and
    compilers understand.
    """

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """
        Args:
            x: values (N, C, h, w).
            indices: int64 (N, C, h, w) from `MaxPool`.
            size: (H, W) of the map that was pooled.

        Returns:
            (N, C, H, W).
        """
        n, c = x.shape[:2]
        if torch.onnx.is_in_onnx_export():
            whole = torch.zeros(n * c * size[0] * size[1], dtype=x.dtype)
            return whole.scatter(0, indices.flatten(), x.flatten()).view(n, c, *size)
        flat = torch.zeros(n, c, size[0] * size[1], dtype=x.dtype, device=x.device)
        return flat.scatter(2, indices.flatten(2), x.flatten(2)).view(n, c, *size)


class Doubling(nn.ConvTranspose2d):
    """A transposed 3x3 convolution of stride 2, to a size that may be odd.

    What is too much is cut off: no exporter understands PyTorch's own `output_size` where sizes are not fixed.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, C, ceil(H/2), ceil(W/2)) -> (N, C', H, W) for `output_size` = (H, W)."""
        doubled = super().forward(x)
        return doubled if output_size is None else doubled[..., : output_size[0], : output_size[1]]


def pad_to_even(x: Tensor) -> Tensor:
    """Zero-pads height and width (right, bottom) so that a stride of 2 loses no row or column."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2))


def as_in_efficientnet(module: nn.Module) -> None:
    """Gives layers what EfficientNet publishes: initialisation, and eps 1e-3 and momentum 0.01 of batch norms.

    Weights of convolutions are normal with variance 2 / (k * k * channels out), counted by group, so that it is
    2 / (k * k) for depthwise ones; biases are 0. Tan and Le 2019, arXiv 1905.11946, and the code published with it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = 1e-3, 0.01
