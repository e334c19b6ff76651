"""A photo under the colours of its mask, with a legend: what a person wants to see of a segmentation."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.labels import LabelSet


def class_shares(mask: np.ndarray, labels: LabelSet) -> list[tuple[str, tuple[int, int, int], float]]:
    """(name, colour, share of the pixels) of the classes in a mask uint8 (H, W), largest first."""
    shares = np.array(Image.fromarray(mask).histogram()[: len(labels)]) / mask.size
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    return [(labels.names[i], labels.colors[i], float(shares[i])) for i in order]


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, opacity: float = 0.55) -> Image.Image:
    """The photo uint8 (H, W, 3) tinted by class, with dark contours, above a legend with pixel shares."""
    return _with_legend(tinted(image, mask, labels, opacity), mask, labels)


def side_by_side(image: np.ndarray, mask: np.ndarray, labels: LabelSet) -> Image.Image:
    """The photo uint8 (H, W, 3) and the colours of its mask uint8 (H, W), above a legend; a wide photo on top."""
    along = 0 if image.shape[1] > 2 * image.shape[0] else 1
    return _with_legend(np.concatenate([image, labels.painted(mask)], along), mask, labels)


def _with_legend(picture: np.ndarray, mask: np.ndarray, labels: LabelSet) -> Image.Image:
    height, width = picture.shape[:2]
    legend = _legend(class_shares(mask, labels), width)
    whole = Image.new("RGB", (width, height + legend.height), "white")
    whole.paste(Image.fromarray(picture))
    whole.paste(legend, (0, height))
    return whole


def tinted(image: np.ndarray, mask: np.ndarray, labels: LabelSet, opacity: float = 0.55) -> np.ndarray:
    """The photo uint8 (H, W, 3) in the colours of its mask uint8 (H, W), with dark contours."""
    blended = cv2.addWeighted(image, 1 - opacity, labels.painted(mask), opacity, 0)
    blended[_contours(mask)] //= 3
    return blended


def _contours(mask: np.ndarray) -> np.ndarray:
    """Pixels, bool (H, W), whose right or lower neighbour is of another class."""
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    edges[:-1] |= mask[1:] != mask[:-1]
    return edges


def _legend(shares: list[tuple[str, tuple[int, int, int], float]], width: int) -> Image.Image:
    """Colour, name and share of each class, in as many columns as fit into the width."""
    size = max(11, min(width // 45, 40))
    font = ImageFont.load_default(size)
    texts = [f"{name} {share:.1%}" for name, _, share in shares]
    cell = max(int(font.getlength(text)) for text in texts) + 3 * size
    columns = max(1, width // cell)
    row_height = round(size * 1.6)
    rows = -(-len(texts) // columns)
    legend = Image.new("RGB", (width, rows * row_height + size // 2), "white")
    draw = ImageDraw.Draw(legend)
    for i, (text, (_, color, _)) in enumerate(zip(texts, shares, strict=True)):
        x, y = size // 2 + (i % columns) * cell, size // 3 + (i // columns) * row_height
        draw.rectangle((x, y, x + size, y + size), fill=color, outline="black")
        draw.text((x + 1.5 * size, y + size / 2), text, fill="black", font=font, anchor="lm")
    return legend
