"""Write small pictures of samples, truths and predictions, which a report shows side by side."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data.fitting import shrunk_size
from data.images import encoded
from data.labels import IGNORE_INDEX, LabelSet
from utils.files import atomic_write, make_folder, write_json

WIDTH, HEIGHT = 480, 1440  # maximum pixels


class Predicted(NamedTuple):
    """A sample, with its index in the split, and its prediction: image uint8 (H, W, 3) RGB, the others uint8 (H, W)."""

    number: int
    name: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def write_samples(samples: Iterable[Predicted], labels: LabelSet, folder: Path) -> None:
    """Write <number>_<name>_image.jpg, ..._truth.png and ..._prediction.png for each sample, and index.json.

    Raises:
        UserError: the folder cannot be written to.
    """
    make_folder(folder)
    entries = []
    for sample in samples:
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(sample.name).stem)[-60:]
        files = {part: f"{sample.number}_{stem}_{part}.png" for part in ("truth", "prediction")}
        files["image"] = f"{sample.number}_{stem}_image.jpg"
        size = shrunk_size((sample.truth.shape[0], sample.truth.shape[1]), (HEIGHT, WIDTH))[::-1]
        with atomic_write(folder / files["image"]) as file:
            photo = Image.fromarray(sample.image).resize(size, Image.Resampling.LANCZOS)
            file.write(encoded(photo, "JPEG", quality=80, optimize=True))
        for part, mask in (("truth", sample.truth), ("prediction", sample.prediction)):
            with atomic_write(folder / files[part]) as file:
                file.write(encoded(_palette_picture(mask, labels, size), "PNG", optimize=True))
        scores = _scores(sample.truth, sample.prediction, len(labels))
        # With other options, another sample may have the same name; its truth differs.
        digest = hashlib.sha256(repr(sample.truth.shape).encode() + sample.truth.tobytes()).hexdigest()[:16]
        name = sample.name.encode(errors="replace").decode()  # file names need not be valid UTF-8
        entries.append({"number": sample.number, "name": name, "digest": digest, **scores, **files})
    classes = [{"name": n, "color": list(c)} for n, c in zip(labels.names, labels.colors, strict=True)]
    write_json(folder / "index.json", {"classes": classes, "samples": entries})


def _palette_picture(mask: np.ndarray, labels: LabelSet, size: tuple[int, int]) -> Image.Image:
    """Draw a mask uint8 (H, W) in the colours of its classes at a size (W, H), with ignored pixels white.

    The palette has only the entries needed, which keeps files small.
    """
    ids = np.where(mask == IGNORE_INDEX, len(labels), mask).astype(np.uint8)
    picture = Image.fromarray(ids).resize(size, Image.Resampling.NEAREST)
    picture.putpalette([part for color in (*labels.colors, (255, 255, 255)) for part in color])
    return picture


def _scores(truth: np.ndarray, prediction: np.ndarray, classes: int) -> dict[str, Any]:
    """Return `wrong`, a share of the pixels, and `miou` of the classes present or predicted; None if undefined."""
    valid = truth != IGNORE_INDEX
    true, predicted = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    if not true.size:
        return {"wrong": None, "miou": None}
    counts = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    right, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    miou = float(np.mean(right[union > 0] / union[union > 0]))
    return {"wrong": float(1 - right.sum() / counts.sum()), "miou": miou if math.isfinite(miou) else None}
