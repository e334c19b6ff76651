"""Draw masks over photos, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.labels import LabelSet


def class_shares(
    mask: np.ndarray, labels: LabelSet, names: Sequence[str] | None = None
) -> list[tuple[str, tuple[int, int, int], float]]:
    """Return (name, colour, share of the pixels) of the classes in a mask uint8 (H, W), largest first.

    Args:
        names: names to return instead of the labels'.
    """
    names = names or labels.names
    shares = np.array(Image.fromarray(mask).histogram()[: len(names)]) / mask.size
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    return [(names[i], labels.colors[i], float(shares[i])) for i in order]


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, opacity: float = 0.55) -> Image.Image:
    """Draw a photo uint8 (H, W, 3) tinted by its mask uint8 (H, W), with dark contours, above a legend."""
    return _with_legend(tinted(image, mask, labels, opacity), mask, labels)


def side_by_side(image: np.ndarray, mask: np.ndarray, labels: LabelSet) -> Image.Image:
    """Draw a photo uint8 (H, W, 3) next to the colours of its mask (below, if it is wide), above a legend."""
    along = 0 if image.shape[1] > 2 * image.shape[0] else 1
    return _with_legend(np.concatenate([image, labels.painted(mask)], along), mask, labels)


def _with_legend(picture: np.ndarray, mask: np.ndarray, labels: LabelSet) -> Image.Image:
    height, width = picture.shape[:2]
    names: Sequence[str] = labels.names
    if not all(name.isascii() for name in names):
        from visualization.fonts import drawn_class_names  # imports matplotlib, which is slow

        names = drawn_class_names(names)
    legend = _legend(class_shares(mask, labels, names), width)
    whole = Image.new("RGB", (legend.width, height + legend.height), "white")
    whole.paste(Image.fromarray(picture))
    whole.paste(legend, (0, height))
    return whole


def tinted(image: np.ndarray, mask: np.ndarray, labels: LabelSet, opacity: float = 0.55) -> np.ndarray:
    """Return a photo uint8 (H, W, 3) tinted by its mask uint8 (H, W), with dark contours."""
    blended = cv2.addWeighted(image, 1 - opacity, labels.painted(mask), opacity, 0)
    blended[_contours(mask)] //= 3
    return blended


def _contours(mask: np.ndarray) -> np.ndarray:
    """Return the pixels bool (H, W) whose right or lower neighbour has another class."""
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    edges[:-1] |= mask[1:] != mask[:-1]
    return edges


def _legend(shares: list[tuple[str, tuple[int, int, int], float]], width: int) -> Image.Image:
    """Draw colour, name and share of each class, in as many columns as fit; wider than `width` if not even one fits."""
    size = max(11, min(width // 45, 40))
    plain, fonts = _font("", size), [_font(name, size) for name, _, _ in shares]
    lengths = [font.getlength(name) for font, (name, _, _) in zip(fonts, shares, strict=True)]
    cell = int(max(lengths, default=0) + plain.getlength(" 100.0%")) + 3 * size
    columns = max(1, width // cell)
    row_height = round(size * 1.6)
    rows = -(-len(shares) // columns)
    legend = Image.new("RGB", (max(width, cell), rows * row_height + size // 2), "white")
    draw = ImageDraw.Draw(legend)
    for i, (font, length, (name, color, share)) in enumerate(zip(fonts, lengths, shares, strict=True)):
        x, y = size // 2 + (i % columns) * cell, size // 3 + (i // columns) * row_height
        draw.rectangle((x, y, x + size, y + size), fill=color, outline="black")
        draw.text((x + 1.5 * size, y + size / 2), name, fill="black", font=font, anchor="lm")
        # In the default font: one for another script may lack digits.
        draw.text((x + 1.5 * size + length, y + size / 2), f" {share:.1%}", fill="black", font=plain, anchor="lm")
    return legend


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font for a text. Pillow's default font has little more than ASCII."""
    if text.isascii():
        return ImageFont.load_default(size)
    from visualization.fonts import font_for

    path = font_for(text)
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
