"""From a photo to a mask."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.images import resize_image
from data.labels import LabelSet
from engine.checkpoint import build_model, load_checkpoint
from engine.normalization import Normalization

log = logging.getLogger(__name__)


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (1, C, h, w) -> float32 (1, C, *size), bilinear."""
    if logits.shape[-2:] == size:
        return logits.float()
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


class Predictor:
    """A trained network that takes photos of any size.

    Args:
        model: in eval mode, on its device.
        labels: what the classes mean.
        image_size: (H, W) that photos are resized to.
        normalization: as in training.
    """

    def __init__(
        self, model: nn.Module, labels: LabelSet, image_size: tuple[int, int], normalization: Normalization
    ) -> None:
        self.model, self.labels, self.image_size, self.normalization = model, labels, image_size, normalization
        self.device = next(model.parameters()).device

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: torch.device | str = "cpu") -> Predictor:
        """The predictor of a checkpoint file or run folder, which is all that it needs.

        Raises:
            UserError: as `engine.checkpoint.load_checkpoint` and `build_model`.
        """
        checkpoint = load_checkpoint(path)
        if checkpoint.get("epoch") == 0:
            log.warning("%s was stopped in its first epoch: expect poor masks", path)
        height, width = checkpoint["image_size"]
        return cls(
            build_model(checkpoint).to(device).eval(),
            LabelSet.from_dict(checkpoint["labels"]),
            (height, width),
            Normalization.from_dict(checkpoint["normalization"]),
        )

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel, uint8 (H, W), of a photo uint8 (H, W, 3), RGB."""
        resized = resize_image(image, self.image_size).transpose(2, 0, 1)
        images = torch.from_numpy(np.ascontiguousarray(resized)).to(self.device).unsqueeze(0)
        logits = self.model(self.normalization(images))
        return resize_logits(logits, image.shape[:2]).argmax(1)[0].to(torch.uint8).cpu().numpy()
