"""Report an evaluation: tables on the console, a JSON file, a CSV and the counts of the samples, figures."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.samples import SegmentationDataset
from engine.metrics import scores
from evaluation.boundary import boundary_iou
from evaluation.calibration import calibration_error
from evaluation.details import Details, SampleScores
from evaluation.measuring import Measured
from inference.predictor import Predictor
from utils.files import atomic_write, write_csv, write_json
from utils.tables import number, table
from visualization.figures import draw_calibration, draw_confusion, draw_predictions
from visualization.sample_pictures import Predicted

log = logging.getLogger("evaluate")

WORST = 16
"""Largest number of samples in worst.png."""


def as_dict(names: tuple[str, ...], measured: Measured) -> dict[str, Any]:
    """Return all metrics, as in the JSON file."""
    found, details = scores(measured.confusion), measured.details
    near = torch.from_numpy(boundary_iou(details.boundary))
    by_class = {"iou": found.iou, "dice": found.dice, "accuracy": found.accuracy, "boundary_iou": near}
    pixels, right, confidence = details.calibration
    return {
        "miou": found.miou,
        "dice": found.mean_dice,
        "pixel_accuracy": found.pixel_accuracy,
        "class_accuracy": found.mean_accuracy,
        "frequency_weighted_iou": found.frequency_weighted_iou,
        "boundary_iou": near.nanmean().item(),
        "calibration_error": calibration_error(details.calibration),
        "benchmark": measured.benchmark,
        "classes": {key: dict(zip(names, values.tolist(), strict=True)) for key, values in by_class.items()},
        "calibration": {
            "pixels": pixels.long().tolist(),
            "confidence": (confidence / pixels).tolist(),  # NaN where a bin is empty
            "accuracy": (right / pixels).tolist(),
        },
        "confusion": measured.confusion.tolist(),
    }


def table_of_classes(
    names: Sequence[str], confusion: Tensor, title: str, more: Mapping[str, Tensor] | None = None
) -> str:
    """Draw a table of the share of the pixels and the metrics of each class, and of the means. '-' is undefined.

    Args:
        confusion: int64 (C, C).
        more: further columns.
    """
    found, pixels = scores(confusion), confusion.sum(1).double()
    shares = pixels / pixels.sum().clamp(min=1)
    metrics = {"IoU": found.iou, "Dice": found.dice, "accuracy": found.accuracy} | dict(more or {})
    rows = [["class", "pixels", *metrics]]
    for i, name in enumerate(names):
        rows.append([name, f"{shares[i].item():.2%}", *(number(values[i].item()) for values in metrics.values())])
    rows.append(["mean", "", *(number(values.nanmean().item()) for values in metrics.values())])
    return table(rows, title)


def show(names: tuple[str, ...], measured: Measured, title: str) -> None:
    """Print a table of the classes, and one of the other metrics."""
    near = torch.from_numpy(boundary_iou(measured.details.boundary))
    log.info("%s", table_of_classes(names, measured.confusion, title, {"boundary IoU": near}))
    rest = {k: v for k, v in as_dict(names, measured).items() if isinstance(v, float)} | measured.benchmark
    log.info("%s", table([["metric", "value"], *([name, number(value)] for name, value in rest.items())]))


def write_results(
    folder: Path,
    stem: str,
    facts: dict[str, Any],
    measured: Measured,
    dataset: SegmentationDataset,
    predictor: Predictor,
) -> list[Path]:
    """Write all files and return their paths.

    Args:
        stem: start of the file names and titles.
        facts: description of the measurement, for the JSON file.
        predictor: predicts the worst samples again, to draw them.

    Raises:
        UserError: a file cannot be written.
    """
    found, labels = scores(measured.confusion), dataset.labels
    names = ("confusion_matrix.png", "calibration.png", "worst.png", "samples.csv", "counts.npz")
    confusion, calibration, worst, listed, counted = (folder / f"{stem}_{name}" for name in names)
    write_counts(counted, measured.details, dataset)
    title = f"{stem}: mIoU {found.miou:.4f}, pixel accuracy {found.pixel_accuracy:.4f}"
    draw_confusion(measured.confusion.numpy(), labels, title, confusion)
    ranked = measured.details.worst_first()
    write_csv(listed, _table(ranked, dataset))
    written = [folder / f"{stem}.json", listed, counted, confusion]
    counts = measured.details.calibration
    if counts[0].sum() > 0:  # nothing to draw if all pixels are ignored
        draw_calibration(counts.numpy(), calibration_error(counts), f"{stem}: calibration", calibration)
        draw_predictions([_drawn(sample, dataset, predictor) for sample in ranked[:WORST]], labels, worst)
        written += [calibration, worst]
    # Written last, since it marks the measurement as complete.
    write_json(folder / f"{stem}.json", facts | as_dict(labels.names, measured))
    return written


def write_counts(path: Path, details: Details, dataset: SegmentationDataset) -> None:
    """Write the pixels of each sample and class as a compressed .npz, from which compare.py computes intervals.

    It holds `names` (N,) and `classes` (C,), texts, and `intersections` and `unions`, int64 (N, C).
    """
    names = [_printable(dataset.name(sample.number)) for sample in details.samples]
    shape = len(names), len(dataset.labels)
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            names=np.array(names, dtype=str),
            classes=np.array(dataset.labels.names, dtype=str),
            intersections=np.array(details.intersections, np.int64).reshape(shape),
            unions=np.array(details.unions, np.int64).reshape(shape),
        )


def _table(ranked: list[SampleScores], dataset: SegmentationDataset) -> Iterator[list[Any]]:
    """Yield a head and one row per sample, with empty cells for undefined values."""
    yield ["name", *SampleScores._fields]
    for sample in ranked:
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in sample[1:]]
        yield [_printable(dataset.name(sample.number)), sample.number, *cells]


def _printable(name: str) -> str:
    return name.encode(errors="replace").decode()


def _drawn(sample: SampleScores, dataset: SegmentationDataset, predictor: Predictor) -> Predicted:
    image, mask, name = dataset[sample.number]
    title = f"{name} (mIoU {sample.miou:.3f})"
    return Predicted(sample.number, title, dataset.bands.picture(image), mask, predictor.predict(image))
