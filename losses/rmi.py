"""Region mutual information: how well the probabilities around a pixel predict the classes around it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from data.labels import IGNORE_INDEX
from losses.class_sums import widest_float
from losses.term import LossTerm, Term

DIAGONAL = 5e-4
"""Added to the diagonals of matrices to invert."""


class RegionMutualInformation(LossTerm):
    """Negative lower bound of the mutual information between regions of labels and of predicted probabilities.

    A region of r x r pixels of an average-pooled map is a vector of r^2 numbers. Let Y and P be those of all regions of
    the one-hot labels and of the probabilities of a class in an image, centred, (r^2, number of regions). The term is

        log det(Y Y' - Y P' (P P')^-1 P Y') / (2 r^2),

    summed over classes and averaged over images. It becomes negative as the prediction improves. Ignored pixels are 0
    in both maps. Zhao et al. 2019, "Region Mutual Information Loss for Semantic Segmentation", arXiv 1910.12037,
    section 3, with the scale, the pooling and the 5e-4 on the diagonals of the authors' code. They use sigmoid
    probabilities; here it is the softmax, as for the other terms.

    Args:
        radius: r, the side of a region in pooled pixels.
        pooling: side of the windows that are averaged first, which saves memory.

    Raises:
        ValueError: radius is not from 1 to 9, or pooling not from 1 to 64.
    """

    def __init__(self, radius: int = 3, pooling: int = 4) -> None:
        super().__init__()
        if not 1 <= radius <= 9:
            raise ValueError(f"radius={radius}: must be from 1 to 9")
        if not 1 <= pooling <= 64:
            raise ValueError(f"pooling={pooling}: must be from 1 to 64")
        self.radius, self.pooling = radius, pooling

    def denominator(self, target: Tensor) -> Tensor:
        """Return the number of images with a labelled pixel."""
        return (target != IGNORE_INDEX).flatten(1).any(1).float().sum()

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        with torch.autocast(logits.device.type, enabled=False):
            valid = (target != IGNORE_INDEX).unsqueeze(1)
            p = torch.softmax(logits.float(), 1) * valid
            truth = torch.zeros_like(p).scatter_(1, target.unsqueeze(1).where(valid, 0), valid.to(p.dtype))
            labels, predicted = self._regions(truth), self._regions(p)
            diagonal = DIAGONAL * torch.eye(labels.shape[2], dtype=labels.dtype, device=labels.device)
            crossed = labels @ predicted.mT
            factor, _ = torch.linalg.cholesky_ex(predicted @ predicted.mT + diagonal)  # does not wait for the device
            explained = torch.linalg.solve_triangular(factor, crossed.mT, upper=False)
            remaining, _ = torch.linalg.cholesky_ex(labels @ labels.mT - explained.mT @ explained + diagonal)
            log_determinants = 2 * remaining.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (N, C)
            counted = valid.flatten(1).any(1)
            values = (log_determinants / (2 * labels.shape[2])).sum(1) * counted
        return Term(values.sum().float(), counted.float().sum())

    def _regions(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) -> centred regions of pooled pixels (N, C, radius^2, number of regions), in float64."""
        height, width = (max(side // self.pooling, 1) for side in maps.shape[-2:])
        window = (min(self.pooling, maps.shape[-2]), min(self.pooling, maps.shape[-1]))
        pooled = F.avg_pool2d(maps, window, window)
        pad = (0, max(self.radius - width, 0), 0, max(self.radius - height, 0))
        pooled = F.pad(pooled, pad)  # of images smaller than a region
        regions = pooled.unfold(2, self.radius, 1).unfold(3, self.radius, 1)  # (N, C, h, w, radius, radius)
        regions = regions.flatten(4).flatten(2, 3).mT.to(widest_float(maps.device))
        return regions - regions.mean(-1, keepdim=True)
