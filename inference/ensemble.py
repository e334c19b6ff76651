"""Average the predictions of several networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from engine.normalization import Normalization
from inference.predictor import Options, Predictor
from inference.views import log_of_mean
from utils.errors import UserError


class Ensemble(nn.Module):
    """Averages the probabilities of networks for the same classes.

    Args:
        networks: the networks, in eval mode, on one device.
        normalizations: the normalisation of each network, in their order.
    """

    def __init__(self, networks: Sequence[nn.Module], normalizations: Sequence[Normalization]) -> None:
        super().__init__()
        self.networks, self.normalizations = nn.ModuleList(networks), list(normalizations)

    def forward(self, images: Tensor) -> Tensor:
        """Return the log of the mean probabilities, float32 (N, C, h, w), for images float (N, channels, H, W), 0 to 1.

        Its softmax is that mean. (h, w) is the size of the first network's logits.
        """
        return log_of_mean(self._predictions(images))

    def _predictions(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the probabilities (N, C, h, w) of each network."""
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        size: torch.Size | None = None
        for network, normalization in zip(self.networks, self.normalizations, strict=True):
            logits = network(normalization(images * 255, channels_last)).to(images.device, torch.float32)
            size = size or logits.shape[-2:]
            if logits.shape[-2:] != size:
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            yield logits.softmax(1)


def ensemble_of(
    predictors: Sequence[Predictor],
    paths: Sequence[str],
    image_size: tuple[int, int] | None = None,
    **options: Unpack[Options],
) -> Predictor:
    """Return a predictor that averages the probabilities of several.

    Args:
        paths: paths of the predictors, for messages.
        image_size: (H, W) that photos are resized to; None for that of the predictors.
        options: as for `Predictor`. With a window, photos are not resized, and image size and fit may differ.

    Raises:
        UserError: they differ in classes, channels, image size or fit; or as for `Predictor`.
    """
    first = predictors[0]
    for other, path in zip(predictors[1:], paths[1:], strict=True):
        if (first.labels.names, first.labels.colors) != (other.labels.names, other.labels.colors):
            raise UserError(f"{path}: its classes are not those of {paths[0]}; an ensemble needs the same classes")
        if first.bands[:2] != other.bands[:2]:
            raise UserError(
                f"{path}: its photos have other channels or another range of values than those of {paths[0]};"
                " an ensemble needs the same"
            )
        if options.get("window"):
            continue
        if image_size is None and first.image_size != other.image_size:
            sizes = ["x".join(map(str, one.image_size)) for one in (first, other)]
            raise UserError(
                f"{paths[0]} takes images of {sizes[0]} and {path} of {sizes[1]}; pass one size for all networks:"
                " image_size=[H,W], or data.image_size=[H,W] for evaluate.py"
            )
        if first.fit != other.fit:
            raise UserError(
                f"{paths[0]} was trained with data.fit={first.fit} and {path} with data.fit={other.fit}; an ensemble"
                " needs the same"
            )
    network = Ensemble([one.model for one in predictors], [one.normalization for one in predictors])
    channels = first.bands.channels
    # Divides by 255 only: each network has its own normalisation.
    unchanged = Normalization((0.0,) * channels, (1.0,) * channels)
    predictor = Predictor(network.eval(), first.labels, image_size or first.image_size, unchanged, **options)
    predictor.fit, predictor.bands = first.fit, first.bands
    predictor.in_threads = predictor.in_threads and all(one.in_threads for one in predictors)
    return predictor
