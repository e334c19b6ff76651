"""Layers that several architectures share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaxUnpool(nn.Module):
    """Puts pooled values back where a max pooling took them from; zeros elsewhere.

    Equal, bit for bit, to `torch.nn.MaxUnpool2d`, but written as a scatter, which ONNX export and
    compilers understand.
    """

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """
        Args:
            x: values (N, C, h, w).
            indices: int64 (N, C, h, w) from `max_pool2d(..., return_indices=True)`, positions in the
                flattened map that was pooled.
            size: (H, W) of the map that was pooled.

        Returns:
            (N, C, H, W).
        """
        n, c = x.shape[:2]
        flat = torch.zeros(n, c, size[0] * size[1], dtype=x.dtype, device=x.device)
        return flat.scatter(2, indices.flatten(2), x.flatten(2)).view(n, c, *size)


def pad_to_even(x: Tensor) -> Tensor:
    """Zero-pads height and width (right, bottom) so that a stride of 2 loses no row or column."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2))
