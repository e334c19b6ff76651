"""Convolution with the 'same' padding of TensorFlow, with which EfficientNets were trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride)).

    The padding depends on the image size. Half of it is added left and top; right and bottom get one more if it is odd.
    In ONNX it is the attribute `auto_pad`, which ONNX Runtime runs fast.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return self._in_onnx(x)
        stride, span = self.stride[0], self.dilation[0] * (self.kernel_size[0] - 1) + 1
        rows, columns = (max((-(-size // stride) - 1) * stride + span - size, 0) for size in x.shape[-2:])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _in_onnx(self, x: Tensor) -> Tensor:
        """The ONNX operation to export. Returns a tensor of the right shape with arbitrary values."""
        rows, columns = ((size - 1) // self.stride[0] + 1 for size in x.shape[-2:])
        attributes: dict[str, Any] = {
            "auto_pad": "SAME_UPPER",
            "dilations": self.dilation,
            "group": self.groups,
            "kernel_shape": self.kernel_size,
            "strides": self.stride,
        }
        inputs = (x, self.weight) if self.bias is None else (x, self.weight, self.bias)
        shape = (x.shape[0], self.out_channels, rows, columns)
        return torch.onnx.ops.symbolic("Conv", inputs, attributes, dtype=x.dtype, shape=shape)
