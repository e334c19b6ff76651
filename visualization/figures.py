"""Draw the figures of runs, evaluations and tools."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

from data.labels import IGNORE_INDEX, LabelSet
from utils.files import atomic_write, make_folder
from utils.text import one_line
from visualization.fonts import drawn_class_names, drawn_text, drawn_title, use_found_fonts
from visualization.overlay import tinted
from visualization.sample_pictures import Predicted

SHOWN = 800  # approximate pixels along the longer side of a picture in a figure; more are not visible
TALLEST = 3.0  # maximum aspect ratio (height / width) of the space for a picture
LARGEST = 20_000  # maximum pixels of a side of a figure
ROWS_HEIGHT = 32.0  # inches; more rows of a figure of 16 inches are tedious to scroll through


def draw_curves(rows: Sequence[Mapping[str, float]], monitor: str, best_epoch: int, path: Path) -> None:
    """Plot losses, metrics and learning rate over the epochs of metrics.csv, with the best epoch marked."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    losses, metrics, rate = figure.subplots(1, 3)
    terms = [name.removeprefix("train/") for name in rows[0] if name.startswith("train/")]
    for i, term in enumerate(terms):
        for split, style in (("train", "--"), ("val", "-")):
            _plot(losses, rows, f"{split}/{term}", color=f"C{i}", linestyle=style)
    losses.set_title("Losses")
    for name in ("val/miou", "val/dice", "val/pixel_accuracy"):
        _plot(metrics, rows, name)
    metrics.set(title="Validation metrics", ylim=(0, 1))
    _plot(rate, rows, "lr", color="C7")
    rate.set_title("Learning rate at the end of the epoch")
    for axes in (losses, metrics, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if best_epoch:
            label = f"best {_short(monitor)}: epoch {best_epoch}" if axes is not losses else None
            axes.axvline(best_epoch, color="black", linewidth=0.8, linestyle=":", label=label)
        # Below the axes, because curves may cross anywhere inside. Each term is a column.
        columns = min(len(terms), 3) if axes is losses else 2
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, frameon=False)
    _save(figure, path)


def _plot(axes: Axes, rows: Sequence[Mapping[str, float]], name: str, **style: Any) -> None:
    """Plot a column of metrics.csv over the epochs with a value."""
    if points := [(row["epoch"], row[name]) for row in rows if name in row]:
        axes.plot(*zip(*points, strict=True), marker=".", label=name, **style)


def draw_confusion(confusion: np.ndarray, labels: LabelSet, title: str, path: Path) -> None:
    """Draw a confusion matrix int64 (C, C) as percentages of each true class."""
    classes = len(labels)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1) * 100
    size = 3.5 + (0.55 if classes <= 32 else 0.17) * classes  # inches; with numbers, or without
    figure = Figure(figsize=(size, size * 0.9), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if classes <= 32:
        for i, j in np.ndindex(classes, classes):
            if shares[i, j] >= 0.5:
                color = "white" if shares[i, j] > 55 else "black"
                axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=color, fontsize=9)
    names = [_short(name) for name in drawn_class_names(labels.names)]
    rotation, side = (60, "right") if classes <= 32 else (90, "center")
    axes.set_xticks(range(classes), names, rotation=rotation, ha=side)
    axes.set_yticks(range(classes), names)
    axes.tick_params(labelsize=10 if classes <= 32 else 7)
    axes.set_xlabel("predicted class", fontsize=11)
    axes.set_ylabel("true class", fontsize=11)
    axes.set_title(drawn_title(title, size))
    figure.colorbar(image, ax=axes, label="% of the true class's pixels", shrink=0.8)
    _save(figure, path)


def draw_predictions(samples: Sequence[Predicted], labels: LabelSet, path: Path) -> None:
    """Draw one row per sample: image, truth, prediction and error. Of many samples, draw the first that fit."""
    heights = [3.8 * _aspect(sample.truth) + 0.35 for sample in samples]  # inches
    shown = max(sum(below <= ROWS_HEIGHT for below in itertools.accumulate(heights)), 1)
    samples, heights = samples[:shown], heights[:shown]
    figure = Figure(figsize=(16, sum(heights) + 1.6), layout="constrained")
    rows = figure.subplots(len(samples), squeeze=False, height_ratios=heights)[:, 0]  # axes take long to make
    for axes, (_, name, image, truth, prediction) in zip(rows, samples, strict=True):
        valid = truth != IGNORE_INDEX
        wrong = (prediction != truth) & valid
        share = wrong.sum() / max(valid.sum(), 1)
        image, truth, prediction, valid, wrong = (_thinned(part) for part in (image, truth, prediction, valid, wrong))
        error = np.where(valid[..., None], (image // 3 + 150).astype(np.uint8), 255)
        error[wrong] = (200, 30, 30)
        pictures = (image, labels.painted(truth), labels.painted(prediction), error)
        titles = (_short(name), "truth", "prediction", f"wrong (red): {share:.1%} of the pixels")
        height, width = truth.shape
        side = max(round(height / TALLEST) - width, width // 20, 2) // 2  # white space, where titles have room
        space = ((0, 0), (side, side), (0, 0))
        axes.imshow(np.hstack([np.pad(picture, space, constant_values=255) for picture in pictures]))
        for i, title in enumerate(titles):
            middle = (i + 0.5) * (width + 2 * side)
            axes.annotate(title, (middle, 0), (0, 4), textcoords="offset points", ha="center", fontsize=13)
        axes.axis("off")
    patches = _patches(labels, [mask for s in samples for mask in (s.truth, s.prediction)])
    columns = -(-len(patches) // -(-len(patches) // 9))  # rows of equal length, with at most nine entries
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=12, frameon=False)
    _save(figure, path)


def draw_calibration(counts: np.ndarray, error: float, title: str, path: Path) -> None:
    """Draw a reliability diagram: accuracy over confidence, and the share of pixels in each bin.

    Args:
        counts: (3, bins), from `evaluation.calibration.calibration_counts`.
        error: expected calibration error.
    """
    pixels, right, confidence = counts
    there = pixels > 0
    width = 1 / len(pixels)
    middles = (np.arange(len(pixels)) + 0.5) * width
    figure = Figure(figsize=(6, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    accuracy = right[there] / pixels[there]
    above.bar(middles[there], accuracy, width * 0.92, color="C0", label="share of correct pixels")
    mean = confidence[there] / pixels[there]
    above.plot(mean, accuracy, "o", color="black", markersize=4, label="at the mean confidence of the bin")
    above.plot([0, 1], [0, 1], "--", color="C7", label="perfect calibration")
    above.set(ylim=(0, 1), ylabel="accuracy")
    above.set_title(drawn_title(f"{title}, expected calibration error {error:.4f}", 6))
    above.legend(loc="upper left")
    below.bar(middles[there], 100 * pixels[there] / pixels.sum(), width * 0.92, color="C7")
    below.set(xlim=(0, 1), xlabel="confidence", ylabel="% of the pixels")
    _save(figure, path)


def draw_sheet(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    labels: LabelSet,
    title: str,
    path: Path,
    columns: int = 4,
    opacity: float = 0.55,
) -> None:
    """Draw a contact sheet of photos uint8 (H, W, 3), of any sizes, tinted by their masks uint8 (H, W)."""
    shapes = [_aspect(image) for _, image, _ in panels]
    heights = [max(shapes[i : i + columns]) * 4 + 0.35 for i in range(0, len(panels), columns)]  # inches
    patches = _patches(labels, [mask for _, _, mask in panels])
    height = sum(heights) + 0.6 + 0.25 * -(-len(patches) // 9)
    figure = Figure(figsize=(4 * columns, height), layout="constrained")
    grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for axes, panel in itertools.zip_longest(grid.flat, panels):
        axes.axis("off")
        if panel:
            name, image, mask = panel
            axes.imshow(tinted(_thinned(image), _thinned(mask), labels, opacity))
            axes.set_title(_short(name, 45), fontsize=9)
    figure.suptitle(drawn_text(title))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 9), fontsize=9)
    _save(figure, path)


def draw_range_test(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: Mapping[str, float],
    title: str,
    path: Path,
) -> None:
    """Plot the losses of a learning-rate range test over its rates.

    `marks` are labels -> rates, drawn as vertical lines; at most three.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="C0", alpha=0.4, linewidth=1, label="loss of each step")
    axes.plot(rates, smoothed, color="C0", linewidth=2.2, label="smoothed")
    for (name, rate), color, style in zip(marks.items(), ("black", "C3", "C2"), ("--", "-", ":"), strict=False):
        axes.axvline(rate, color=color, linestyle=style, linewidth=1.6, label=f"{name}: {rate:.2g}")
    # Clip diverging losses, so that the fall before them is visible.
    low, start = min(losses), max(smoothed[: int(np.argmin(smoothed)) + 1])
    high = min(max(losses), start + max(start - low, 0.1 * start))
    margin = 0.05 * (high - low or 1)
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(low - margin, high + margin))
    axes.set_title(drawn_text(title))
    axes.xaxis.set_major_formatter("{x:g}")  # the default format needs math text, which is switched off in fonts.py
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    _save(figure, path)


def draw_speed(runs: Sequence[tuple[str, float, Mapping[str, float]]], title: str, path: Path) -> None:
    """Plot the accuracy of runs over the time of a forward pass.

    Args:
        runs: (name, mIoU, {backend: milliseconds}) of each run.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    backends = list(dict.fromkeys(backend for _, _, times in runs for backend in times))
    for _, accuracy, times in runs:
        axes.plot([min(times.values()), max(times.values())], [accuracy] * 2, color="C7", linewidth=0.8, zorder=1)
    for backend in backends:
        points = [(times[backend], accuracy) for _, accuracy, times in runs if backend in times]
        axes.scatter([x for x, _ in points], [y for _, y in points], s=45, label=backend, zorder=2)
    values = [value for _, _, times in runs for value in times.values()]
    if max(values) > 5 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")  # the default format needs math text, which is switched off in fonts.py
        axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.2, y=0.12)
    axes.set(xlabel="milliseconds of a forward pass (median)", ylabel="val/miou at the best epoch")
    axes.set_title(drawn_text(title))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(backends), fontsize=9, frameon=False)
    use_found_fonts(figure)
    canvas.draw()  # determines the positions
    _label(axes, runs)
    _save(figure, path)


def _label(axes: Axes, runs: Sequence[tuple[str, float, Mapping[str, float]]]) -> None:
    """Write each name next to its points, shifted up or down to avoid overlaps."""
    places = [axes.transData.transform((x, y)) for _, y, times in runs for x in times.values()]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in places]
    for name, y, times in runs:
        text = axes.annotate(_short(name), (max(times.values()), y), (0, 0), textcoords="offset points", fontsize=8)
        text.set_verticalalignment("center")
        for step in range(40):  # right, left, then lower, higher, ...
            at_right, up = step % 2 == 0, (step + 2) // 4 * (6 if step % 4 < 2 else -6)
            text.xy = (max(times.values()) if at_right else min(times.values()), y)
            text.set_horizontalalignment("left" if at_right else "right")
            text.set_position((8 if at_right else -8, up))
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken) and axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1:
                break
        taken.append(box)


def _short(name: str, length: int = 36) -> str:
    """Return a name in characters that can be drawn; of a long one, the end."""
    text = drawn_text(one_line(name))
    return text if len(text) <= length else f"...{text[3 - length :]}"


def _patches(labels: LabelSet, masks: Sequence[np.ndarray]) -> list[Patch]:
    """Return legend entries for the classes in the masks."""
    present = set(np.concatenate([np.unique(mask) for mask in masks]).tolist())
    patches = [
        Patch(facecolor=(color[0] / 255, color[1] / 255, color[2] / 255), label=_short(name))
        for i, (name, color) in enumerate(zip(drawn_class_names(labels.names), labels.colors, strict=True))
        if i in present
    ]
    return patches + [Patch(facecolor="white", edgecolor="grey", label="ignored")] * (IGNORE_INDEX in present)


def _aspect(picture: np.ndarray) -> float:
    """Return the height over width of a picture (H, W, ...), at most `TALLEST`."""
    return min(picture.shape[0] / picture.shape[1], TALLEST)


def _thinned(picture: np.ndarray) -> np.ndarray:
    """Subsample a picture (H, W, ...) to about `SHOWN` pixels on the longer side."""
    step = max(*picture.shape[:2], SHOWN) // SHOWN
    return picture[::step, ::step]


def _save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; errors as for `utils.files.atomic_write`."""
    make_folder(path.parent)
    figure.set_dpi(min(figure.dpi, LARGEST / max(figure.get_size_inches())))
    use_found_fonts(figure)
    picture = io.BytesIO()  # in memory first: Pillow does not report a full disk
    FigureCanvasAgg(figure).print_png(picture)
    with atomic_write(path) as file:
        file.write(picture.getbuffer())
