"""Write a draft of labels.json from the masks of a folder: their ids, colours or labels, and how often each occurs.

python -m tools.scan_labels root=<folder>
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which may swallow exceptions raised by signals
    from utils.interruption import end_at_once

    end_at_once()

import json
import logging
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import DataFault, PartlyFailed, Unreadable, UserError
from utils.files import atomic_write, make_writable
from utils.paths import is_there, user_path
from utils.text import plural

log = logging.getLogger("scan_labels")

RARE = 1e-4
"""Share of the pixels below which colours are left out of a draft if there are many: smoothed edges have thousands."""
MANY = 64


def scan(cfg: DictConfig) -> None:
    """Print what occurs in the masks, with shares of the pixels, and write the draft."""
    from tqdm import tqdm

    from data.folder import Layout
    from utils.tables import table

    root = user_path(cfg.root, "root")
    output = user_path(cfg.output, "output") if cfg.output else root / "labels.json"
    if is_there(output) and not cfg.overwrite:
        raise UserError(f"{output} exists already; overwrite=true replaces it, output= writes elsewhere")
    layout = Layout.of(root, cfg.images, cfg.masks, cfg.mask_suffix)
    layout.check(root, prefix="")
    parts = layout.splits(root) or [layout]
    masks = sorted({path for part in parts for paths in part.files(root, output)[1].values() for path in paths})
    if not masks:
        raise UserError(
            f"{root / layout.masks}: there are no masks; pass masks=<folder>, and mask_suffix=<how their names end>"
        )
    make_writable(output.parent)
    pixels: Counter[Any] = Counter()
    images: Counter[Any] = Counter()
    broken = []
    for path in tqdm(masks, unit="img", leave=False, dynamic_ncols=True, disable=None):
        try:
            found = values_in(root / path)
        except DataFault as fault:
            broken.append(str(fault))
            continue
        pixels.update(found)
        images.update(found.keys())
    pixels, images = in_colors(pixels), in_colors(images)
    entries, left_out = draft(pixels)
    total = max(sum(pixels.values()), 1)
    rows = [["id", "class", "color", "outlines" if masks[0].endswith(".json") else "pixels", "masks"]]
    for value, (key, entry) in entries.items():
        rows.append([key, entry["class"], str(entry["color"]), f"{pixels[value] / total:.3%}", str(images[value])])
    for value, key in ((255, "255"), ((255, 255, 255), "white")):
        if value in pixels and value not in entries:
            rows.append([key, "ignored", "", f"{pixels[value] / total:.3%}", str(images[value])])
    log.info("%s", table(rows, f"{plural(len(masks) - len(broken), 'mask')} of {root / layout.masks}"))
    if left_out:
        share = sum(pixels[value] for value in left_out) / total
        log.info(
            "left out: %d colours with %.2f %% of the pixels, which occur at smoothed edges; data.color_tolerance takes"
            " them for the nearest of the others",
            *(len(left_out), 100 * share),
        )
    lines = [f'  "{key}": {json.dumps(entry, ensure_ascii=False)}' for key, entry in entries.values()]
    with atomic_write(output) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
    log.info("wrote %s; replace the names of the classes by yours", output)
    if broken:
        raise PartlyFailed("\n".join([f"{len(broken)} of {plural(len(masks), 'mask')} could not be read:", *broken]))


def values_in(path: Path) -> Counter[Any]:
    """Return the pixels of each id (int), colour (tuple) or label (str) in a mask; of labels, the outlines.

    Raises:
        DataFault: the mask cannot be read.
    """
    import numpy as np
    from PIL import Image

    from data.labelme import labels_in
    from data.masks import COLOR_MODES, pack_colors, read_mask

    if path.suffix.lower() == ".json":
        return Counter(labels_in(path))
    try:
        mask = read_mask(path)
    except Unreadable:
        with suppress(OSError), Image.open(path) as picture:
            if picture.mode in COLOR_MODES:
                colors, counts = np.unique(pack_colors(np.asarray(picture.convert("RGB"))), return_counts=True)
                triples = [(color >> 16, color >> 8 & 255, color & 255) for color in colors.tolist()]
                return Counter(dict(zip(triples, counts.tolist(), strict=True)))
        raise
    values, counts = np.unique(mask, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def in_colors(pixels: Counter[Any]) -> Counter[Any]:
    """Return what occurs with ids as colours if there are colours: a mask that is grey throughout is read as ids."""
    if not any(isinstance(value, tuple) for value in pixels):
        return pixels
    found: Counter[Any] = Counter()
    for value, count in pixels.items():
        found[(value,) * 3 if isinstance(value, int) else value] += count
    return found


def draft(pixels: Counter[Any]) -> tuple[dict[Any, tuple[str, dict[str, Any]]], list[Any]]:
    """Return the entries of labels.json by what occurs in masks, and the colours that are left out.

    Ids and labels are in their order, colours with the most frequent first. 255 and white are ignored, and so have no
    entry, unless nothing but 0 (or black) occurs with them.
    """
    from data.labelme import BACKGROUND
    from data.labels import voc_colors

    total, left_out = sum(pixels.values()), []
    labels = sorted(value for value in pixels if isinstance(value, str) and not value.startswith("__"))
    ids = sorted(value for value in pixels if isinstance(value, int))
    colors = [value for value, _ in pixels.most_common() if isinstance(value, tuple)]
    if len(ids) > 2:
        ids = [value for value in ids if value != 255]
    if len(colors) > 2:
        colors = [value for value in colors if value != (255, 255, 255)]
    if len(colors) > MANY:
        left_out = [value for value in colors if pixels[value] < RARE * total]
        colors = [value for value in colors if value not in set(left_out)]
    palette = voc_colors(256)
    if labels:
        names = ["background", *(label for label in labels if label.lower() not in BACKGROUND)]
        return {n: (str(i), {"class": n, "color": list(palette[i])}) for i, n in enumerate(names)}, left_out
    if colors:
        return {c: (str(i), {"class": f"class {i}", "color": list(c)}) for i, c in enumerate(colors)}, left_out
    return {i: (str(i), {"class": f"class {i}", "color": list(palette[i % 256])}) for i in ids}, left_out


if __name__ == "__main__":
    launch(scan, "scan_labels")
