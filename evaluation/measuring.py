"""Measure a network on a split: in batches at the network's image size, or photo by photo in windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data.loading import ValidationLoader
from data.samples import SegmentationDataset
from data.workers import explain_dead_workers, worker_count
from engine.device import autocast_dtype
from engine.evaluator import evaluate
from engine.logits import likeliest
from engine.metrics import add_to_confusion
from engine.out_of_memory import explain_out_of_memory
from evaluation.details import Details
from inference.predictor import Predictor
from utils.config_values import as_size


class Measured(NamedTuple):
    """Results on a split.

    Attributes:
        confusion: int64 (C, C), row = truth.
        benchmark: scores defined by the data set's own benchmark; {} if it has none.
        details: scores per sample, boundary IoU and calibration.
    """

    confusion: Tensor
    benchmark: dict[str, float]
    details: Details


def measure(
    predictor: Predictor,
    dataset: SegmentationDataset,
    samples: SegmentationDataset,
    node: dict[str, Any],
    amp: str | None = None,
    after_batch: Callable[[int], object] = lambda images: None,
) -> Measured:
    """Measure a network on a split.

    Args:
        predictor: with a window, photos are processed at their own size.
        dataset: the whole split.
        samples: its first samples, which are measured: with images at the network's size, or at their own size for
            windows.
        node: the config node `data`.
        amp: precision of the run, as for `engine.device.autocast_dtype`; None for `auto`.
        after_batch: called with the number of images after each batch.
    """
    classes = len(dataset.labels)
    benchmark = dataset.scores()
    details = Details(classes)

    def note(index: int, prediction: Tensor, truth: Tensor, scores: Tensor) -> None:
        if benchmark is not None:
            benchmark.add(index, prediction.byte().cpu().numpy())
        details.add(index, prediction, truth, scores)

    if predictor.window is not None:
        counts = torch.zeros(classes + 1, classes, dtype=torch.int64)
        for index in range(len(samples)):
            sample = samples[index]
            scores = torch.from_numpy(predictor.probabilities(sample.image)).clamp_(min=1e-30).log_()
            prediction, truth = likeliest(scores, 0), torch.from_numpy(sample.mask)
            add_to_confusion(counts, prediction, truth)
            note(index, prediction, truth, scores)
            after_batch(1)
        confusion, ignored = counts[:-1], counts[-1]
    else:
        size, device = as_size(node["image_size"]), predictor.device
        loader = ValidationLoader(
            samples,
            batch_size=node["batch_size"],
            num_workers=worker_count(node["num_workers"], device),
            pin_memory=device.type == "cuda",
            fit=node["fit"],
        )
        with explain_out_of_memory(node["batch_size"], size, device), explain_dead_workers([loader.watched]):
            confusion, ignored, _ = evaluate(
                predictor.model,
                None,
                loader,
                num_classes=classes,
                device=device,
                normalization=predictor.normalization,
                autocast=autocast_dtype(amp if amp in ("off", "fp16", "bf16") else "auto", device),
                channels_last=predictor.channels_last,
                after_batch=after_batch,
                after_sample=note,
            )
    results = benchmark.results(confusion.numpy(), ignored.numpy()) if benchmark else {}
    return Measured(confusion, results, details)
