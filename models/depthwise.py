"""Depthwise convolutions with dilation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.memory_layout import is_channels_last


class DilatedDepthwise(nn.Conv2d):
    """Depthwise convolution of stride 1 that keeps the size: (N, C, H, W) -> (N, C, H, W).

    The gradient of a dilated depthwise convolution takes oneDNN three times as long as that of a plain one. Every d-th
    row and column, d being the dilation, is a plain convolution. So in training on a CPU, channels_last maps are
    rearranged: each phase of rows becomes an image, and each phase of columns becomes channels, which takes no copy.

    Args:
        channels: channels of input and output.
        kernel_size: odd.
        dilation: distance of neighbouring taps in pixels.
        bias: add a bias.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int, bias: bool = False) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(channels, channels, kernel_size, 1, padding, dilation, channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        step = self.dilation[0]
        # Phases of one or two rows would be mostly padding.
        pays = self.training and x.device.type == "cpu" and is_channels_last(x) and min(height, width) > 2 * step
        if not pays:
            return super().forward(x)
        rows, columns = -(-height // step), -(-width // step)
        pixels = x.permute(0, 2, 3, 1)
        if (rows * step, columns * step) != (height, width):
            pixels = F.pad(pixels, (0, 0, 0, columns * step - width, 0, rows * step - height))
        phases = pixels.reshape(n, rows, step, -1).transpose(1, 2).reshape(n * step, rows, columns, step * channels)
        weight = self.weight.repeat(step, 1, 1, 1)
        bias = None if self.bias is None else self.bias.repeat(step)
        padding = self.kernel_size[0] // 2
        phases = F.conv2d(phases.permute(0, 3, 1, 2), weight, bias, padding=padding, groups=step * channels)
        pixels = phases.permute(0, 2, 3, 1).reshape(n, step, rows, -1).transpose(1, 2)
        pixels = pixels.reshape(n, rows * step, columns * step, channels)[:, :height, :width].contiguous()
        return pixels.permute(0, 3, 1, 2)
