"""Report a finished run: a table of classes on the console, and figures."""

from __future__ import annotations

import logging

import torch

from data.samples import SegmentationDataset
from data.statistics import evenly_spread
from engine.checkpoint import load_checkpoint
from engine.metrics import scores
from evaluation.results import table_of_classes
from inference.predictor import Predictor
from utils.run_folder import RunFolder
from visualization.figures import draw_confusion, draw_curves, draw_predictions
from visualization.sample_pictures import Predicted, write_samples

log = logging.getLogger(__name__)

SAMPLES = 4
"""Number of samples to draw, evenly spread."""


def report(run: RunFolder, validation: SegmentationDataset, length: int, device: torch.device, monitor: str) -> None:
    """Print the metrics of each class at the best epoch, and draw curves.png, confusion_matrix.png and predictions.png.

    For compare.py the counts are also written to confusion_matrix.csv, and the samples one by one into samples/.

    Args:
        length: number of validation samples that were used, from the first.
    """
    best = load_checkpoint(run.best)
    predictor = Predictor.from_loaded(best, device)
    confusion, found = best["confusion"], scores(best["confusion"])
    title = f"validation, epoch {best['epoch']} (best)"
    log.info("\n%s", table_of_classes(predictor.labels.names, confusion, title))
    draw_curves(run.read_rows(), monitor, best["epoch"], run.figures / "curves.png")
    title = f"epoch {best['epoch']}: mIoU {found.miou:.4f}, pixel accuracy {found.pixel_accuracy:.4f}"
    draw_confusion(confusion.numpy(), predictor.labels, title, run.figures / "confusion_matrix.png")
    run.write_confusion(predictor.labels.names, confusion.tolist())
    samples = [(index, validation[index]) for index in evenly_spread(length, SAMPLES)]
    picture = validation.bands.picture
    drawn = [Predicted(index, s.name, picture(s.image), s.mask, predictor.predict(s.image)) for index, s in samples]
    draw_predictions(drawn, predictor.labels, run.figures / "predictions.png")
    write_samples(drawn, predictor.labels, run.figures / "samples")
