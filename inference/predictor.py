"""Predict the mask of a photo."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, get_args

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from data.bands import RGB, Bands, bands_of
from data.fitting import Fit, fit_of, padded_and_resized, padded_size
from data.images import resize_image
from data.labels import LabelSet
from engine.checkpoint import build_model, load_checkpoint
from engine.logits import likeliest, likeliest_at, resize_logits, stretched_rows, without_padding
from engine.normalization import Normalization
from export.onnx_model import OnnxModel
from inference.folding import fold_batch_norms
from inference.views import Averaged, has_dropout
from inference.windows import bands
from utils.errors import UserError
from utils.paths import is_onnx, user_path
from utils.value_types import SMALLEST_SIDE, View

log = logging.getLogger(__name__)

LARGEST = 2**26
"""Maximum number of logits at photo size to hold at once. Larger photos are processed in bands of rows."""


class Prediction(NamedTuple):
    """The prediction for a photo.

    Attributes:
        mask: uint8 (H, W), the likeliest class of each pixel.
        uncertainty: float32 (H, W), entropy of the probabilities divided by its maximum, from 0 (certain) to 1; None
            unless requested.
        probabilities: float32 (C, H, W), of each class; None unless requested.
    """

    mask: np.ndarray
    uncertainty: np.ndarray | None
    probabilities: np.ndarray | None


class Options(TypedDict, total=False):
    """The options of a `Predictor`, which explains them."""

    tta: Sequence[View]
    samples: int
    window: tuple[int, int] | None
    overlap: float


class Predictor:
    """A trained network that takes photos of any size.

    Args:
        model: the network, in eval mode, on its device. It may be converted to channels_last; batch norms are folded in
            a copy.
        labels: what the classes mean.
        image_size: (H, W) that photos are resized to.
        normalization: as in training.
        tta: views to average over, see `inference.views.Averaged`.
        samples: number of predictions with dropout to average; 1 for none.
        window: (H, W) of windows at the resolution of the photo, instead of resizing it.
        overlap: share of a window that overlaps the next one.

    Attributes:
        fit: whether photos are padded to the aspect ratio of `image_size` first, as in training.
        bands: channels and values of the photos, as in training.
        in_threads: whether several threads may predict at once, each with a share of torch's threads. True on a CPU,
            except with dropout, whose random numbers would depend on the order, and ONNX Runtime with its own threads.
        channels_last: whether the network gets images in this memory layout. True on a CPU, except for ONNX Runtime.
        network_seconds: time spent in the network so far, summed over threads.

    Raises:
        UserError: a view is unknown, there are samples but no dropout, the network does not accept the window, or the
            overlap is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: LabelSet,
        image_size: tuple[int, int],
        normalization: Normalization,
        *,
        tta: Sequence[View] = (),
        samples: int = 1,
        window: tuple[int, int] | None = None,
        overlap: float = 0.25,
    ) -> None:
        _check_options(model, tta, samples, window, overlap)
        fixed = _of_one_size(model)
        folded = fold_batch_norms(model)
        self.model = Averaged(folded, tta, samples) if tta or samples > 1 else folded
        self.labels, self.image_size, self.normalization = labels, image_size, normalization
        self.fit: Fit = "stretch"
        self.network_seconds = 0.0
        self.bands: Bands = RGB
        self.window, self.overlap = window, overlap
        self.least = fixed[0].facts.image_size if fixed else (SMALLEST_SIDE, SMALLEST_SIDE)
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        on_cpu = self.device.type == "cpu" and not isinstance(model, OnnxModel)
        self.in_threads = on_cpu and samples == 1
        self.channels_last = on_cpu  # 0.62 to 0.95 of the time for each architecture, see benchmarks/README.md
        if self.channels_last:
            self.model.to(memory_format=torch.channels_last)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, device: torch.device | str = "cpu", **options: Unpack[Options]
    ) -> Predictor:
        """Load a checkpoint file, run folder or exported .onnx file; options as for the class.

        Raises:
            UserError: as the class, `engine.checkpoint.load_checkpoint`, `build_model` and `OnnxModel`.
        """
        if is_onnx(path):
            network = OnnxModel(user_path(path, "checkpoint"), device)
            facts = network.facts
            predictor = cls(network, facts.labels, facts.image_size, network.normalization, **options)
            config = facts.run_config()
            predictor.fit, predictor.bands = fit_of(config), bands_of(config, len(facts.normalization.mean))
            return predictor
        checkpoint = load_checkpoint(path)
        if checkpoint.get("epoch") == 0:
            log.warning("%s was stopped in its first epoch: expect poor masks", path)
        return cls.from_loaded(checkpoint, device, **options)

    @classmethod
    def from_loaded(
        cls, checkpoint: dict[str, Any], device: torch.device | str = "cpu", **options: Unpack[Options]
    ) -> Predictor:
        """Build from the result of `engine.checkpoint.load_checkpoint`; options as for the class.

        Raises:
            UserError: as the class and `build_model`.
        """
        height, width = checkpoint["image_size"]
        predictor = cls(
            build_model(checkpoint).to(device).eval(),
            LabelSet.from_dict(checkpoint["labels"]),
            (height, width),
            Normalization.from_dict(checkpoint["normalization"]),
            **options,
        )
        config = checkpoint["config"]
        predictor.fit, predictor.bands = fit_of(config), bands_of(config, len(checkpoint["normalization"]["mean"]))
        return predictor

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, uint8 (H, W), of a photo as for `predict_with`."""
        return self.predict_with(image).mask

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float32 (C, H, W), of a photo as for `predict_with`."""
        found = self.predict_with(image, probabilities=True).probabilities
        assert found is not None
        return found

    def resized(self, image: np.ndarray) -> Tensor | None:
        """Resize a photo (H, W, channels) for the network: (1, channels, h, w) on the CPU; None with a window."""
        if self.window is not None:
            return None
        fitted = padded_and_resized if self.fit == "pad" else resize_image
        pixels = fitted(image, self.image_size).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(pixels)).unsqueeze(0)

    @torch.inference_mode()
    def predict_with(
        self,
        image: np.ndarray,
        resized: Tensor | None = None,
        *,
        uncertainty: bool = False,
        probabilities: bool = False,
    ) -> Prediction:
        """Return the class of each pixel of a photo and, if requested, uncertainty and probabilities.

        Args:
            image: uint8 (H, W, 3), RGB; or what `bands.read` returns.
            resized: result of `resized`, if a thread has called that already.

        Raises:
            ValueError: the photo has another type or shape.
        """
        self.bands.check(image)
        mask = np.empty(image.shape[:2], np.uint8)
        entropy = np.empty(image.shape[:2], np.float32) if uncertainty else None
        whole = np.empty((len(self.labels), *image.shape[:2]), np.float32) if probabilities else None
        for rows, columns, scores, are_logits in self._parts(image, resized):
            part = mask[rows, columns]
            if entropy is None and whole is None:
                part[:] = likeliest_at(scores, part.shape).cpu().numpy()
                continue
            large = resize_logits(scores, part.shape)[0]
            part[:] = likeliest(large, 0).cpu().numpy()
            shares = large.softmax(0) if are_logits else large
            if entropy is not None:
                terms = torch.special.entr(shares).sum(0) / np.log(max(len(self.labels), 2))
                entropy[rows, columns] = terms.cpu().numpy()
            if whole is not None:
                whole[:, rows, columns] = shares.cpu().numpy()
        return Prediction(mask, entropy, whole)

    def _parts(self, image: np.ndarray, resized: Tensor | None) -> Iterator[tuple[slice, slice, Tensor, bool]]:
        """Yield rows, columns, the scores (1, C, h, w) to resize to them, and whether these are logits."""
        if self.window is not None:
            for rows, columns, probabilities in bands(image, self._scores, self.window, self.overlap, self.least):
                yield rows, columns, probabilities.unsqueeze(0), False
            return
        pixels = self.resized(image) if resized is None else resized
        assert pixels is not None
        logits = self._scores(pixels)
        height, width = image.shape[:2]
        if self.fit == "pad":
            logits = without_padding(logits, padded_size((height, width), self.image_size), (height, width))
        rows_at_once = max(LARGEST // (logits.shape[1] * width), 1)
        if rows_at_once >= height:
            yield slice(None), slice(None), logits, True
            return
        for top in range(0, height, rows_at_once):
            rows = slice(top, min(top + rows_at_once, height))
            yield rows, slice(None), stretched_rows(logits, rows, height), True

    def _scores(self, images: Tensor) -> Tensor:
        """Return the logits (n, C, h, w) of images (n, channels, h, w)."""
        normalized = self.normalization(images.to(self.device), self.channels_last)
        _wait(self.device)
        began = time.perf_counter()
        scores = self.model(normalized).contiguous()  # classes are resized and compared one by one
        _wait(self.device)
        self.network_seconds += time.perf_counter() - began
        return scores


def _wait(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _of_one_size(model: nn.Module) -> list[OnnxModel]:
    """Return the exported files in a network or ensemble that accept images of one size only."""
    return [part for part in model.modules() if isinstance(part, OnnxModel) and not part.facts.dynamic]


def _check_options(
    model: nn.Module, tta: Sequence[View], samples: int, window: tuple[int, int] | None, overlap: float
) -> None:
    """Check the options of a `Predictor`.

    Raises:
        UserError: as for `Predictor`.
    """
    known = get_args(View)
    strange = [tta] if isinstance(tta, str) else [view for view in tta if view not in known]
    if strange:
        raise UserError(f"tta={strange[0]!r}: must be a list of {', '.join(map(repr, known))}")
    if samples < 1:
        raise UserError(f"samples={samples}: must be at least 1")
    if samples > 1 and not has_dropout(model):
        raise UserError(f"samples={samples}: {type(model).__name__} has no dropout, so all samples would be the same")
    if window is not None and min(window) < SMALLEST_SIDE:
        raise UserError(f"window={list(window)}: must be at least {SMALLEST_SIDE} pixels high and wide")
    if not 0 <= overlap < 1:
        raise UserError(f"overlap={overlap}: must be from 0 to below 1")
    for file in _of_one_size(model):
        height, width = file.facts.image_size
        if "multiscale" in tta or window not in (None, (height, width)):
            raise UserError(
                f"{file.path}: takes only images of {height}x{width}: no tta=multiscale, no other window; export it"
                " with dynamic=true"
            )
