"""From a photo to a mask."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.images import resize_image
from data.labels import LabelSet
from engine.checkpoint import build_model, load_checkpoint
from engine.normalization import Normalization
from engine.onnx_model import OnnxModel
from engine.views import Augmentation, Averaged, has_dropout
from engine.windows import bands
from utils.errors import UserError

log = logging.getLogger(__name__)

LARGEST = 2**26
"""Numbers of logits at a photo's size that are held at once; of larger photos, row by row."""


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (1, C, h, w) -> float32 (1, C, *size), bilinear."""
    if logits.shape[-2:] == size:
        return logits.float()
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


class Prediction(NamedTuple):
    """What a network says of a photo.

    Attributes:
        mask: uint8 (H, W), the likeliest class of each pixel.
        uncertainty: float32 (H, W), the entropy of the classes' probabilities as a share of the largest one there is,
            from 0 (certain) to 1; None where it was not asked for.
    """

    mask: np.ndarray
    uncertainty: np.ndarray | None


class Predictor:
    """A trained network that takes photos of any size.

    Args:
        model: in eval mode, on its device.
        labels: what the classes mean.
        image_size: (H, W) that photos are resized to.
        normalization: as in training.
        tta: views to average over, see `engine.views.Averaged`.
        samples: more than 1 samples networks by dropout, as often.
        window: (H, W) of windows at the photo's own resolution, which take the place of resizing.
        overlap: share of a window that its neighbour has in common with it.

    Raises:
        UserError: samples of a network without dropout, a window that no network takes, or an overlap out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: LabelSet,
        image_size: tuple[int, int],
        normalization: Normalization,
        *,
        tta: Sequence[Augmentation] = (),
        samples: int = 1,
        window: tuple[int, int] | None = None,
        overlap: float = 0.25,
    ) -> None:
        if samples > 1 and not has_dropout(model):
            raise UserError(
                f"samples={samples}: {type(model).__name__} has no dropout, so all samples would be the same"
            )
        if window is not None and min(window) < 32:
            raise UserError(f"window={list(window)}: must be at least 32 pixels high and wide")
        if not 0 <= overlap < 1:
            raise UserError(f"overlap={overlap}: must be from 0 to below 1")
        self.model = Averaged(model, tta, samples) if tta or samples > 1 else model
        self.labels, self.image_size, self.normalization = labels, image_size, normalization
        self.window, self.overlap = window, overlap
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: torch.device | str = "cpu",
        *,
        tta: Sequence[Augmentation] = (),
        samples: int = 1,
        window: tuple[int, int] | None = None,
        overlap: float = 0.25,
    ) -> Predictor:
        """The predictor of a checkpoint file, run folder or exported .onnx file, which is all that it needs; arguments
        as the class.

        Raises:
            UserError: as the class, `engine.checkpoint.load_checkpoint`, `build_model` and `OnnxModel`.
        """
        if Path(path).suffix == ".onnx":
            network = OnnxModel(Path(path).expanduser(), device)
            return cls(
                network,
                network.facts.labels,
                network.facts.image_size,
                network.normalization,
                tta=tta,
                samples=samples,
                window=window,
                overlap=overlap,
            )
        checkpoint = load_checkpoint(path)
        if checkpoint.get("epoch") == 0:
            log.warning("%s was stopped in its first epoch: expect poor masks", path)
        height, width = checkpoint["image_size"]
        return cls(
            build_model(checkpoint).to(device).eval(),
            LabelSet.from_dict(checkpoint["labels"]),
            (height, width),
            Normalization.from_dict(checkpoint["normalization"]),
            tta=tta,
            samples=samples,
            window=window,
            overlap=overlap,
        )

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel, uint8 (H, W), of a photo uint8 (H, W, 3), RGB."""
        return self.predict_with(image, uncertainty=False).mask

    @torch.inference_mode()
    def predict_with(self, image: np.ndarray, uncertainty: bool = True) -> Prediction:
        """The class of each pixel of a photo uint8 (H, W, 3), RGB, and how uncertain it is."""
        mask = np.empty(image.shape[:2], np.uint8)
        entropy = np.empty(image.shape[:2], np.float32) if uncertainty else None
        for rows, columns, scores, are_logits in self._parts(image):
            mask[rows, columns] = scores.argmax(0).to(torch.uint8).cpu().numpy()
            if entropy is not None:
                probabilities = scores.softmax(0) if are_logits else scores
                terms = torch.special.entr(probabilities).sum(0) / np.log(max(len(self.labels), 2))
                entropy[rows, columns] = terms.cpu().numpy()
        return Prediction(mask, entropy)

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """The probability of each class, float32 (C, H, W), of a photo uint8 (H, W, 3), RGB."""
        whole = np.empty((len(self.labels), *image.shape[:2]), np.float32)
        for rows, columns, scores, are_logits in self._parts(image):
            whole[:, rows, columns] = (scores.softmax(0) if are_logits else scores).cpu().numpy()
        return whole

    def _parts(self, image: np.ndarray) -> Iterator[tuple[slice, slice, Tensor, bool]]:
        """Rows, columns, float32 (C, rows, columns), and whether these are logits or probabilities."""
        if self.window is not None:
            for rows, columns, probabilities in bands(image, self._scores, self.window, self.overlap):
                yield rows, columns, probabilities, False
            return
        resized = resize_image(image, self.image_size).transpose(2, 0, 1)
        logits = self._scores(torch.from_numpy(np.ascontiguousarray(resized)).unsqueeze(0))
        height, width = image.shape[:2]
        if logits.shape[1] * height * width <= LARGEST:
            yield slice(None), slice(None), resize_logits(logits, (height, width))[0], True
            return
        rows_at_once = max(LARGEST // (logits.shape[1] * width), 1)
        for top in range(0, height, rows_at_once):
            rows = slice(top, min(top + rows_at_once, height))
            yield rows, slice(None), resize_logits(_stretched(logits, rows, height), (rows.stop - top, width))[0], True

    def _scores(self, images: Tensor) -> Tensor:
        """Images uint8 (n, 3, h, w) -> logits (n, C, h, w)."""
        return self.model(self.normalization(images.to(self.device)))


def _stretched(logits: Tensor, rows: slice, height: int) -> Tensor:
    """Some rows of logits (1, C, h, w) that are stretched to a height, bilinear: float32 (1, C, rows, w)."""
    low = logits.shape[2]
    places = torch.arange(rows.start, rows.stop, device=logits.device, dtype=torch.float64)
    places = ((places + 0.5) * (low / height) - 0.5).clamp(min=0)
    above = places.long().clamp(max=low - 1)
    below = (above + 1).clamp(max=low - 1)
    share = (places - above).to(torch.float32)[:, None]
    return logits[:, :, above].float() * (1 - share) + logits[:, :, below].float() * share
