"""Pictures of predictions on some validation samples, to watch a training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from data.fitting import Fit, padded_and_resized, shrunk_size
from data.images import resize_image
from data.labels import IGNORE_INDEX
from data.masks import resize_mask
from data.samples import SegmentationDataset
from data.statistics import evenly_spread
from engine.logits import likeliest
from engine.normalization import normalization_of

LONGEST_SIDE = 320
"""Maximum side of a panel in pixels; small, since there is a picture for each validation."""
GAP = 4
SAMPLES = 4
"""Maximum number of samples to draw."""


class Pictures:
    """Draws predictions of the same samples each time, evenly spread over a split.

    Args:
        samples: with images of the network's size, as returned by `data.checking.checked_samples`.
        autocast: the dtype of mixed precision; None for float32.
    """

    def __init__(
        self,
        samples: SegmentationDataset,
        device: torch.device,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        fit: Fit = "stretch",
    ) -> None:
        self.fit = fit
        self.samples, self.device = samples, device
        self.autocast, self.channels_last = autocast, channels_last
        self.indices = evenly_spread(len(samples), SAMPLES)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> np.ndarray:
        """Return rows of image, truth and prediction, uint8 (H, W, 3), RGB. The model stays in its mode.

        Samples go through the network one by one, so that it takes no more memory than validation.
        """
        was_training = model.training
        model.eval()
        try:
            rows = [self._row(model, index) for index in self.indices]
        finally:
            model.train(was_training)
        return _joined(rows, axis=0)

    def _row(self, model: nn.Module, index: int) -> np.ndarray:
        image, mask, _ = self.samples[index]
        if self.fit == "pad":  # as the image is
            mask = padded_and_resized(mask, (image.shape[0], image.shape[1]), resize_mask, (IGNORE_INDEX,))
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).unsqueeze(0).to(self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            logits = model(normalization_of(model)(pixels, self.channels_last))
        prediction = likeliest(logits, 1)[0].cpu().numpy()
        size = shrunk_size((image.shape[0], image.shape[1]), (LONGEST_SIDE, LONGEST_SIDE))
        painted = self.samples.labels.painted
        photo = resize_image(self.samples.bands.picture(image), size)
        panels = [photo, *(painted(resize_mask(m, size)) for m in (mask, prediction))]
        return _joined(panels, axis=1)


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Join pictures uint8 (h, w, 3) of one size, with white gaps between them."""
    margin = [(0, 0), (0, 0), (0, 0)]
    margin[axis] = (0, GAP)
    padded = [np.pad(picture, margin, constant_values=255) for picture in pictures[:-1]]
    return np.concatenate([*padded, pictures[-1]], axis)
