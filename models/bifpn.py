"""BiFPN: the weighted bi-directional feature pyramid of EfficientDet, Tan et al. 2020, arXiv 1911.09070, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import BatchNorm, separable_conv

Fusion = Literal["fast_normalised", "sum"]


def halve(x: Tensor) -> Tensor:
    """Max pooling 3x3 of stride 2: (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Upsample (N, C, h, w) by nearest neighbour to the height and width of the tensor `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


class Node(nn.Module):
    """Fuse maps of the same size: weighted mean, SiLU, separable 3x3 convolution, batch norm.

    Args:
        channels: channels of each map.
        inputs: number of maps.
        fusion: `fast_normalised` learns a weight for each map (section 3.3), `sum` adds them.
    """

    def __init__(self, channels: int, inputs: int, fusion: Fusion) -> None:
        super().__init__()
        if fusion not in ("fast_normalised", "sum"):
            raise ValueError(f"fusion={fusion}: must be fast_normalised or sum")
        self.weights = nn.Parameter(torch.ones(inputs)) if fusion == "fast_normalised" else None
        self.conv = nn.Sequential(nn.SiLU(), separable_conv(channels, channels), BatchNorm(channels))

    def fractions(self) -> Tensor:
        """Weight of each map, (inputs,): not negative, with a sum of almost 1 (1e-4 avoids 0 / 0)."""
        assert self.weights is not None
        positive = self.weights.relu()
        return positive / (positive.sum() + 1e-4)

    def forward(self, *maps: Tensor) -> Tensor:
        """`inputs` maps (N, C, H, W) -> (N, C, H, W)."""
        if self.weights is not None:
            maps = tuple(fraction * x for fraction, x in zip(self.fractions(), maps, strict=True))
        return self.conv(sum(maps[1:], start=maps[0]))


class BiFPNLayer(nn.Module):
    """One top-down and one bottom-up pass over the levels P2 to P7.

    Args:
        channels: channels of each level.
        levels: number of levels.
        fusion: see `Node`.
        top_down_only: omit the bottom-up pass, for a last layer whose coarser levels are not used.
    """

    def __init__(self, channels: int, levels: int, fusion: Fusion, top_down_only: bool = False) -> None:
        super().__init__()
        self.down = nn.ModuleList(Node(channels, 2, fusion) for _ in range(levels - 1))
        self.up = None
        if not top_down_only:
            # The coarsest level has no top-down node, so it has one input fewer.
            self.up = nn.ModuleList(Node(channels, 3 if i < levels - 2 else 2, fusion) for i in range(levels - 1))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps from fine to coarse, each half the size of the previous one -> maps of the same sizes."""
        *finer, x = levels
        down = [x]
        for node, level in zip(self.down, reversed(finer), strict=True):
            x = node(level, enlarge(x, like=level))
            down.insert(0, x)
        if self.up is None:
            return down
        outputs = [down[0]]
        for i, node in enumerate(self.up, 1):
            middle = (down[i],) if i < len(levels) - 1 else ()
            outputs.append(node(levels[i], *middle, halve(outputs[-1])))
        return outputs


class BiFPN(nn.Module):
    """Build levels P2 to P7 from an encoder's maps of stride 4 to 32, and fuse them with several layers.

    P6 is the encoder's coarsest map, pooled; P7 is P6, pooled.

    Args:
        in_channels: channels of the encoder's four maps.
        channels: channels of each level.
        layers: number of BiFPN layers.
        fusion: see `Node`.
        finest_only: omit layers that the finest level of the output does not need.
    """

    LEVELS = 6

    def __init__(
        self, in_channels: Sequence[int], channels: int, layers: int, fusion: Fusion, finest_only: bool = False
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, channels, 1, bias=False), BatchNorm(channels))
            for c in (*in_channels, in_channels[-1])
        )
        self.layers = nn.Sequential(
            *(
                BiFPNLayer(channels, self.LEVELS, fusion, top_down_only=finest_only and i == layers - 1)
                for i in range(layers)
            )
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Four maps of stride 4, 8, 16 and 32 -> P2 to P7, each (N, channels, ceil(H / 2^l), ceil(W / 2^l))."""
        *lateral, to_p6 = self.lateral
        levels = [conv(x) for conv, x in zip(lateral, maps, strict=True)]
        p6 = halve(to_p6(maps[-1]))
        return self.layers([*levels, p6, halve(p6)])
