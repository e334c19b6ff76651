"""The pictures of docs/results.md and README.md: photos, ground truth, and the masks of each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.result_files import Result
from data.camvid import CamVid
from data.statistics import evenly_spread
from inference.predictor import Predictor
from utils.bundled_weights import bundled_names
from visualization.overlay import tinted

PHOTOS = 8
HEADER = 24  # pixels


def predict(weights: Path, root: str, file: Path) -> None:
    """Write the masks of the photos by a network, one above the other, as a palette image."""
    dataset, network = CamVid(root, "val"), Predictor.from_checkpoint(weights, "cpu")
    masks = [network.predict(dataset[index].image) for index in evenly_spread(len(dataset), PHOTOS)]
    image = Image.fromarray(np.concatenate(masks))
    image.putpalette(np.ravel(dataset.labels.colors).tolist())
    image.save(file, optimize=True)


def draw(results: Sequence[Result], root: str, docs: Path) -> None:
    """Draw results.jpg, with all networks that have masks, and street.jpg, two of its rows with those of `weights/`."""
    dataset = CamVid(root, "val")
    samples = [dataset[index] for index in evenly_spread(len(dataset), PHOTOS)]
    photos = [sample.image for sample in samples]
    masks = {"ground truth": [sample.mask for sample in samples]}
    masks |= {result.network: _parts(result.masks) for result in results if result.masks.exists()}
    columns = {"photo": photos}
    for name, those in masks.items():
        columns[name] = [tinted(*each, dataset.labels) for each in zip(photos, those, strict=True)]
    bundled = {name.removesuffix("_camvid") for name in bundled_names()}
    street = {name: parts[2:4] for name, parts in columns.items() if name in ("photo", "ground truth", *bundled)}
    for file, shown in (("results.jpg", columns), ("street.jpg", street)):
        _picture(shown).save(docs / file, quality=88)


def _picture(columns: Mapping[str, Sequence[np.ndarray]]) -> Image.Image:
    """Return a picture of columns of photos uint8 (H, W, 3) at half their size, each under its name."""
    pixels = np.hstack([np.vstack(parts) for parts in columns.values()])
    picture = Image.fromarray(pixels).reduce(2)
    headed = Image.new("RGB", (picture.width, HEADER + picture.height), "white")
    headed.paste(picture, (0, HEADER))
    draw, font = ImageDraw.Draw(headed), ImageFont.load_default(size=15)
    for i, name in enumerate(columns):
        draw.text((picture.width * (i + 0.5) / len(columns), HEADER / 2), name, "black", font, anchor="mm")
    return headed


def _parts(file: Path) -> list[np.ndarray]:
    """Return the masks uint8 (H, W) that `predict` has written."""
    return np.split(np.asarray(Image.open(file)), PHOTOS)
