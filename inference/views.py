"""Average several predictions for the same images: test-time augmentation and Monte Carlo dropout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.value_types import SMALLEST_SIDE, View

SCALES = (0.75, 1.0, 1.25)


class Averaged(nn.Module):
    """Averages the predictions of a network over flipped and scaled images, and over dropout.

    Args:
        model: a network in eval mode.
        tta: `flip` adds the mirrored image, `multiscale` the image at 0.75 and 1.25 of its size; both make six views.
        samples: predictions of every view; dropout is on if more than 1 (Kendall et al. 2015, Bayesian SegNet,
            arXiv 1511.02680, section 4).
    """

    def __init__(self, model: nn.Module, tta: Sequence[View] = (), samples: int = 1) -> None:
        super().__init__()
        self.model, self.samples = model, samples
        self.flips = (False, True) if "flip" in tta else (False,)
        self.scales = SCALES if "multiscale" in tta else (1.0,)

    def forward(self, images: Tensor) -> Tensor:
        """Return the log of the mean probabilities, float32 (N, C, H, W), for images float (N, 3, H, W).

        Its softmax is that mean.
        """
        self._set_dropout(self.samples > 1)
        try:
            return log_of_mean(self._views(images))
        finally:
            self._set_dropout(False)

    def _views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the probabilities (N, C, H, W) of each view and sample."""
        size = images.shape[-2:]
        for scale in self.scales:
            shape = [max(round(side * scale), SMALLEST_SIDE) for side in size]
            scaled = images if scale == 1 else _resized(images, shape)
            for flip in self.flips:
                given = scaled.flip(-1) if flip else scaled
                for _ in range(self.samples):
                    logits = self.model(given).float()
                    logits = logits.flip(-1) if flip else logits
                    yield (logits if scale == 1 else _resized(logits, size)).softmax(1)

    def _set_dropout(self, on: bool) -> None:
        for module in self.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.train(on)


def log_of_mean(predictions: Iterable[Tensor]) -> Tensor:
    """Return the log of the mean of probabilities, at least one tensor float32 (N, C, H, W), which are overwritten.

    The softmax of the result is that mean.
    """
    remaining = iter(predictions)
    total, count = next(remaining), 1
    for probabilities in remaining:
        total.add_(probabilities)
        count += 1
    return total.div_(count).clamp_(min=torch.finfo(torch.float32).tiny).log_()


def has_dropout(model: nn.Module) -> bool:
    """Whether a network has dropout, so that samples differ."""
    return any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules())


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False)
