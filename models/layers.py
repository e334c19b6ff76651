"""Layers and checks that several architectures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.depthwise import DilatedDepthwise
from models.memory_layout import in_layout_of, is_channels_last, with_gradient_in_its_layout
from utils.text import plural
from utils.value_types import SMALLEST_SIDE


def check_num_classes(num_classes: int) -> None:
    """Check the number of classes of a network.

    Raises:
        ValueError: fewer than one class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes={num_classes}: a network needs 1 class or more")


def check_share(**shares: float) -> None:
    """Check options that are shares, as probabilities of dropout.

    Raises:
        ValueError: one is negative, 1 or more, or NaN.
    """
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value}: must be at least 0 and less than 1")


def check_images(images: Tensor, in_channels: int = 3) -> None:
    """Check the shape of a batch of images.

    Raises:
        ValueError: the shape is not (N, in_channels, H, W) with H and W from 32; says how to convert them.
    """
    if images.ndim != 4:
        raise ValueError(
            f"images of shape {tuple(images.shape)}: expected (N, {in_channels}, H, W); images[None] is a batch of 1"
        )
    channels, height, width = images.shape[1:]
    if channels != in_channels:
        hint = "images.expand(-1, 3, -1, -1) copies one" if channels == 1 else "images[:, :3] takes the first three"
        expected = f"3 (RGB); {hint}" if in_channels == 3 else f"{in_channels}; pass the channels of its training"
        raise ValueError(f"images of {plural(channels, 'channel')}: expected {expected}")
    if height < SMALLEST_SIDE or width < SMALLEST_SIDE:
        raise ValueError(
            f"images of {height}x{width}: must be at least {SMALLEST_SIDE}x{SMALLEST_SIDE}; resize or pad them"
        )


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can train on one value per channel (a batch of one with a 1x1 map).

    Such a value has no variance, so PyTorch raises an error. Here it is normalised with the running statistics, as in
    eval mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def separable_conv(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 and pointwise convolution without biases: (N, C, H, W) -> (N, C', H, W)."""
    if dilation > 1:
        depthwise: nn.Conv2d = DilatedDepthwise(in_channels, 3, dilation)
    else:
        depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=False))


def separable_norm_act(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Separable 3x3 convolution, batch norm, ReLU."""
    conv = separable_conv(in_channels, out_channels, dilation)
    return nn.Sequential(conv, BatchNorm(out_channels), nn.ReLU(inplace=True))


def auxiliary_head(in_channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """3x3 convolution to 32 channels and 1x1 convolution to logits, for a second loss on features in training."""
    return nn.Sequential(conv_norm_act(in_channels, 32), nn.Dropout(dropout), nn.Conv2d(32, num_classes, 1))


Interpolation = Literal["bilinear", "nearest"]


def check_interpolation(interpolation: str) -> None:
    """Check the name of an upsampling method.

    Raises:
        ValueError: neither `bilinear` nor `nearest`.
    """
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"interpolation={interpolation}: must be bilinear or nearest")


def resize(x: Tensor, like: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Interpolate (N, C, h, w) to the height, width and memory layout of the tensor `like`."""
    corners = False if interpolation == "bilinear" else None
    resized = F.interpolate(x, size=like.shape[-2:], mode=interpolation, align_corners=corners)
    return with_gradient_in_its_layout(in_layout_of(like, resized))


def pool_to_bins(x: Tensor, bins: int) -> Tensor:
    """Average over bins x bins regions: (N, C, H, W) -> (N, C, bins, bins), as `F.adaptive_avg_pool2d`.

    ONNX has no such operation. There it is two matrix products, which work for any H and W.
    """
    if bins == 1 or not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(x, bins)
    rows, columns = (_regions(bins, size).to(x) for size in x.shape[-2:])
    return rows @ x @ columns.T


def _regions(bins: int, length: int) -> Tensor:
    """Weight of each position in the mean of each region, float32 (bins, length); regions may overlap by one."""
    region, place = torch.arange(bins)[:, None], torch.arange(length)
    inside = (place >= region * length // bins) & (place < ((region + 1) * length + bins - 1) // bins)
    return inside / inside.sum(1, keepdim=True)


class _PReLU(torch.autograd.Function):
    """PReLU with a gradient of whole-tensor operations: PyTorch's own takes more than twice the time on CPUs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        negative = gradient - positive  # the gradient where x <= 0
        of_slope = (negative * x).sum((0, 2, 3), dtype=slope.dtype)
        return positive.addcmul_(negative, slope.to(gradient.dtype).view(-1, 1, 1)), of_slope


class PReLU(nn.PReLU):
    """PReLU of maps (N, C, H, W), faster in training on CPUs and in ONNX Runtime.

    It is exported to ONNX as two depthwise 1x1 convolutions, a * x + (1 - a) * relu(x), which ONNX Runtime fuses with
    the layers around them. Its own PRelu takes a third of ENet's time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.onnx.is_in_onnx_export():
            return _PReLU.apply(x, self.weight) if self.training and torch.is_grad_enabled() else super().forward(x)
        slope, channels = self.weight.view(-1, 1, 1, 1), self.num_parameters
        return F.conv2d(x, slope, groups=channels) + F.conv2d(F.relu(x), 1 - slope, groups=channels)


class MaxPool(nn.Module):
    """2x2 max pooling of stride 2 that also returns the indices for `MaxUnpool`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> maxima and their indices (int64), both (N, C, ceil(H/2), ceil(W/2)).

        An index is a position in the flattened map of its channel; in ONNX, in the whole flattened tensor.
        """
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
    """Inverse of max pooling: put values back where the maxima were, and zeros elsewhere.

    Bit-identical to `torch.nn.MaxUnpool2d`, but written as a scatter, which can be exported to ONNX and compiled. The
    output has the memory layout of the values: layers after it would otherwise convert maps and gradients.
    """

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """Unpool (N, C, h, w) to (N, C, H, W).

        Args:
            x: values (N, C, h, w).
            indices: int64 (N, C, h, w) from `MaxPool`.
            size: (H, W) of the map that was pooled.
        """
        n, c = x.shape[:2]
        if torch.onnx.is_in_onnx_export():
            whole = torch.zeros(n * c * size[0] * size[1], dtype=x.dtype)
            return whole.scatter(0, indices.flatten(), x.flatten()).view(n, c, *size)
        if is_channels_last(x):
            rows, values = (y.permute(0, 2, 3, 1).flatten(1, 2) for y in (indices, x))  # (N, hw, C)
            flat = torch.zeros(n, size[0] * size[1], c, dtype=x.dtype, device=x.device)
            return flat.scatter(1, rows, values).view(n, *size, c).permute(0, 3, 1, 2)
        flat = torch.zeros(n, c, size[0] * size[1], dtype=x.dtype, device=x.device)
        return flat.scatter(2, indices.flatten(2), x.flatten(2)).view(n, c, *size)


class Doubling(nn.ConvTranspose2d):
    """Transposed 3x3 convolution of stride 2 whose output size may be odd.

    When it is exported, surplus rows and columns are cut off instead, because exporters do not support PyTorch's
    `output_size` for dynamic sizes.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, C, ceil(H/2), ceil(W/2)) -> (N, C', H, W) for `output_size` = (H, W)."""
        if output_size is None or not (torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()):
            return super().forward(x, None if output_size is None else list(output_size))
        return super().forward(x)[..., : output_size[0], : output_size[1]]


def pad_to_even(x: Tensor) -> Tensor:
    """Zero-pad right and bottom to an even height and width, so that a stride of 2 loses no row or column."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2))


CLASSIFIER_STD = 0.01


def as_classifier(conv: nn.Conv2d) -> None:
    """Initialise a last layer so that training starts from nearly equal probabilities.

    Lin et al. 2017, arXiv 1708.02002, section 4.1. With EfficientNet's initialisation of other layers, the first loss
    would be two to three times as high.
    """
    nn.init.normal_(conv.weight, std=CLASSIFIER_STD)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def as_in_efficientnet(module: nn.Module) -> None:
    """Initialise layers as EfficientNet does, and set eps 1e-3 and momentum 0.01 for batch norms.

    Weights of convolutions are normal with variance 2 / (k * k * output channels per group), which is 2 / (k * k) for
    depthwise ones; biases are 0. Tan and Le 2019, arXiv 1905.11946, and the code published with it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = 1e-3, 0.01
