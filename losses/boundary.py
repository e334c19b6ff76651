"""Cross-entropy with a higher weight near the boundaries of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.pixel_term import PixelTerm
from losses.term import Term


class BoundaryCrossEntropy(PixelTerm):
    """Cross-entropy averaged with a higher weight for pixels near a boundary between two classes.

    After the weight map of Ronneberger et al. 2015, "U-Net", arXiv 1505.04597, equation 2, with a constant weight
    within a distance in place of their Gaussian, which needs a distance transform on the CPU.

    Args:
        width: pixels at most this far (in rows and in columns) from a pixel of another class are near a boundary.
        boundary_weight: weight of these pixels; other pixels have weight 1.
        class_weights: one weight per class, or None for equal ones; multiplied with the weight of the pixel.

    Raises:
        ValueError: the width is not from 1 to 100, or the weight is not above 0 and at most 1,000.
    """

    def __init__(
        self, width: int = 3, boundary_weight: float = 5.0, class_weights: Sequence[float] | str | None = None
    ) -> None:
        super().__init__(class_weights)
        if not 1 <= width <= 100:
            raise ValueError(f"width={width}: must be from 1 to 100 pixels")
        if not 0 < boundary_weight <= 1000:
            raise ValueError(f"boundary_weight={boundary_weight}: must be greater than 0 and at most 1000")
        self.width, self.boundary_weight = width, boundary_weight

    def denominator(self, target: Tensor) -> Tensor:
        return self.weight_of(target).sum()

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        surprise, weight = self.pixel_losses(logits, target)
        return Term((surprise * weight).sum(), weight.sum())

    def weight_of(self, target: Tensor) -> Tensor:
        return super().weight_of(target) * torch.where(near_boundary(target, self.width), self.boundary_weight, 1.0)


def near_boundary(target: Tensor, width: int) -> Tensor:
    """Find the valid pixels with a valid pixel of another class within `width` rows and columns.

    Args:
        target: int64 (N, H, W); pixels of 255 belong to no class and make no boundary.

    Returns:
        bool (N, H, W).
    """
    valid = target != IGNORE_INDEX
    labels = target.float()
    highest = _window_maximum(labels.where(valid, -1), width)
    lowest = -_window_maximum((-labels).where(valid, -IGNORE_INDEX - 1), width)
    return valid & (highest != lowest)


def _window_maximum(values: Tensor, width: int) -> Tensor:
    """Return the maximum of the 2 width + 1 rows and columns around each pixel, (N, H, W)."""
    rows = F.max_pool2d(values.unsqueeze(1), (2 * width + 1, 1), 1, (width, 0))
    return F.max_pool2d(rows, (1, 2 * width + 1), 1, (0, width)).squeeze(1)
