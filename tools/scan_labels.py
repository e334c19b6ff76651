"""Write a draft of labels.json from the masks of a folder: their ids, colours or labels, and how often each occurs.

python -m tools.scan_labels root=<folder>
"""

from __future__ import annotations

import json
import logging
import math
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import DataFault, UserError, partly_failed
from utils.files import atomic_write, prepare_output
from utils.paths import user_path
from utils.text import plural

if TYPE_CHECKING:
    from data.labels import Color
    from data.layout import Layout

log = logging.getLogger("scan_labels")

LISTED = 4
"""Stray colours that a message lists."""
Entries = dict[Any, tuple[str, dict[str, Any]]]
"""Id, colour or label in the masks -> its key and value in labels.json."""
MOST_CLASSES = 255
"""Ids that 8 bits hold, besides the ignored one."""


def scan(cfg: DictConfig) -> None:
    """Print what occurs in the masks, with shares of the pixels, and write the draft."""
    from data.layout import Layout
    from data.masks import palette_of

    root = user_path(cfg.root, "root")
    output = user_path(cfg.output, "output") if cfg.output else root / "labels.json"
    layout = Layout.of(root, cfg.images, cfg.masks, cfg.mask_suffix)
    layout.check(prefix="")
    parts = layout.usual_splits() or [layout]
    masks = sorted({path for part in parts for paths in part.files(output)[1].values() for path in paths})
    if not masks:
        raise UserError(f"{root / layout.masks}: there are no masks; {without_masks(layout)}")
    prepare_output(output, cfg.overwrite)
    palettes = [palette for path in masks if (palette := palette_of(root / path))]
    palette = shared_palette(palettes) if palettes else []
    pixels, inside, images, broken = count_values([root / path for path in masks], palettes_in_colors=palette is None)
    failure = partly_failed(len(broken), plural(len(masks), "mask"), "read", broken)
    if len(broken) == len(masks):
        raise failure
    entries, strays = draft(pixels, inside, palette or [])
    title = f"{plural(len(masks) - len(broken), 'mask')} of {root / layout.masks}"
    show(entries, pixels, images, "outlines" if masks[0].endswith(".json") else "pixels", title)
    tolerance = farthest(strays, [*entries, (255, 255, 255)]) if strays else 0
    if strays:
        show_strays(strays, pixels, tolerance)
    lines = [f'  "{key}": {json.dumps(entry, ensure_ascii=False)}' for key, entry in entries.values()]
    with atomic_write(output) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
    log.info("wrote %s; replace the names of the classes with yours, and check the data set:", output)
    log.info("%s", check_command(cfg, output if output != root / "labels.json" else None, tolerance))
    if broken:
        raise failure


def count_values(
    masks: list[Path], palettes_in_colors: bool
) -> tuple[Counter[Any], Counter[Any], Counter[Any], list[DataFault]]:
    """Return the sums of `values_in` over all masks, the number of masks with each value, and faults."""
    from tqdm import tqdm

    pixels, inside, images = Counter[Any](), Counter[Any](), Counter[Any]()
    broken = []
    for path in tqdm(masks, unit="img", leave=False, dynamic_ncols=True, disable=None):
        try:
            found, within = values_in(path, palettes_in_colors)
        except DataFault as fault:
            broken.append(fault)
            continue
        pixels.update(found)
        inside.update(within)
        images.update(found.keys())
    return in_colors(pixels, pixels), in_colors(inside, pixels), in_colors(images, pixels), broken


def show(entries: Entries, pixels: Counter[Any], images: Counter[Any], unit: str, title: str) -> None:
    """Print a table of the entries of the draft, and of what is ignored."""
    from utils.tables import table

    total = max(sum(pixels.values()), 1)
    rows = [["id", "class", "color", unit, "masks"]]
    for value, (key, entry) in entries.items():
        rows.append([key, entry["class"], str(entry["color"]), f"{pixels[value] / total:.3%}", str(images[value])])
    for value, key in ((255, "255"), ((255, 255, 255), "white")):
        if value in pixels and value not in entries:
            rows.append([key, "ignored", "", f"{pixels[value] / total:.3%}", str(images[value])])
    log.info("%s", table(rows, title))


def show_strays(strays: list[Any], pixels: Counter[Any], tolerance: int) -> None:
    """Print the colours that are left out of the draft."""
    total = sum(pixels.values())
    share = sum(pixels[value] for value in strays) / total
    some = ", ".join(f"{value} {pixels[value] / total:.3%}" for value in strays[:LISTED])
    log.info(
        "left out: %s with %.2f%% of the pixels, as at smoothed edges: %s%s; data.color_tolerance=%d maps each to"
        " the nearest of the others",
        *(plural(len(strays), "colour"), 100 * share, some, " ..." if len(strays) > LISTED else ""),
        tolerance,
    )


def check_command(cfg: DictConfig, labels: Path | None, tolerance: int) -> str:
    """Return the command that checks the data set; `labels` is None if the file is found in the root."""
    words = [f"data.root={cfg.root}"]
    usual = {"images": "images", "masks": "masks", "mask_suffix": None}
    words += [f"data.{key}={cfg[key]}" for key, value in usual.items() if cfg[key] != value]
    words += [f"data.labels={labels}"] if labels else []
    words += [f"data.color_tolerance={tolerance}"] if tolerance else []
    return shlex.join(["python", "-m", "tools.check_data", "data=folder", *words])


def without_masks(layout: Layout) -> str:
    """Return advice for the case that no mask was found."""
    from data.masks import LOSSY, LOSSY_SUFFIXES
    from utils.paths import files_below

    others = [path for path in files_below(layout.root / layout.masks) if str(path).lower().endswith(LOSSY_SUFFIXES)]
    if others and layout.masks != layout.images:
        return f"found {others[0]}, {LOSSY}"
    return "pass masks=<folder>, and mask_suffix=<how their names end>"


def shared_palette(palettes: list[list[Color]]) -> list[Color] | None:
    """Return the palette of all masks if its indices are the ids; None if the colours define the classes.

    They do if the masks have different colours for an index, or only greys that are not in order: programs that reduce
    the colours of a picture renumber them.
    """
    longest = max(palettes, key=len)
    greys = [color[0] for color in longest if len(set(color)) == 1]
    renumbered = any(palette != longest[: len(palette)] for palette in palettes)
    return None if renumbered or (len(greys) == len(longest) and greys != sorted(greys)) else longest


def values_in(path: Path, palettes_in_colors: bool) -> tuple[Counter[Any], Counter[Any]]:
    """Return the pixels of each id (int), colour (tuple) or label (str) in a mask, and those inside areas of it.

    For labels, outlines are counted, none of them as inside.

    Raises:
        DataFault: the mask cannot be read.
    """
    import numpy as np

    from data.labelme import labels_in
    from data.mask_colors import pack_colors
    from data.masks import palette_of, read_pixels
    from data.stray_colors import inside_areas

    if path.suffix.lower() == ".json":
        return Counter(labels_in(path)), Counter()
    mask = read_pixels(path)
    palette = palette_of(path) if palettes_in_colors else None
    if palette:
        mask = np.resize(np.array(palette, np.uint8), (256, 3))[mask]
    is_colored = mask.ndim == 3
    if is_colored and not palette and (mask == mask[..., :1]).all():
        mask, is_colored = mask[..., 0], False
    if is_colored:
        mask = pack_colors(mask)
    counted = []
    for chosen in (mask, mask[1:-1, 1:-1][inside_areas(mask)]):
        values, counts = (found.tolist() for found in np.unique(chosen, return_counts=True))
        keys = [(color >> 16, color >> 8 & 255, color & 255) for color in values] if is_colored else values
        counted.append(Counter(dict(zip(keys, counts, strict=True))))
    return counted[0], counted[1]


def in_colors(counts: Counter[Any], pixels: Counter[Any]) -> Counter[Any]:
    """Return counts of ids as counts of greys if `pixels` has colours, since entirely grey masks are read as ids."""
    if not any(isinstance(value, tuple) for value in pixels):
        return counts
    found: Counter[Any] = Counter()
    for value, count in counts.items():
        found[(value,) * 3 if isinstance(value, int) else value] += count
    return found


def draft(pixels: Counter[Any], inside: Counter[Any], palette: list[Color]) -> tuple[Entries, list[Any]]:
    """Return the entries of labels.json, and the stray colours, the most frequent first.

    Ids and labels are sorted, colours have the most frequent first. 255 and white are ignored, so they have no entry
    unless only 0 (or black) occurs with them. Ids get the colours of the masks' palette if these are all different.

    Raises:
        UserError: there are more than 255 ids.
    """
    from data.labelme import BACKGROUND
    from data.labels import voc_colors
    from data.stray_colors import main_colors

    labels = sorted(value for value in pixels if isinstance(value, str) and not value.startswith("__"))
    ids = sorted(value for value in pixels if isinstance(value, int))
    found = {value: count for value, count in pixels.most_common() if isinstance(value, tuple)}
    colors = main_colors(found, inside)
    strays = [value for value in found if value not in {*colors, (255, 255, 255)}]
    if len(ids) > 2:
        ids = [value for value in ids if value != 255]
    if len(colors) > 2:
        colors = [value for value in colors if value != (255, 255, 255)]
    if len(ids) > MOST_CLASSES:
        raise UserError(f"the masks have {len(ids)} ids, as of instances; a mask of classes has at most {MOST_CLASSES}")
    usual = voc_colors(256)
    if labels:
        names = ["background", *(label for label in labels if label.lower() not in BACKGROUND)]
        return {n: (str(i), {"class": n, "color": list(usual[i])}) for i, n in enumerate(names)}, strays
    if colors:
        return {c: (str(i), {"class": f"class {i}", "color": list(c)}) for i, c in enumerate(colors)}, strays
    own = [palette[i] for i in ids if i < len(palette)]
    is_grey = all(len(set(color)) == 1 for color in own)
    if len(set(own)) < len(ids) or is_grey:
        own = [usual[i] if ids[-1] < 256 else usual[place] for place, i in enumerate(ids)]
    named = zip(ids, own, strict=True)
    return {i: (str(i), {"class": f"class {i}", "color": list(color)}) for i, color in named}, strays


def farthest(strays: list[Any], colors: list[Any]) -> int:
    """Return the least tolerance that maps each stray colour to the nearest of some colours."""
    return math.ceil(max(min(math.dist(stray, color) for color in colors) for stray in strays))


if __name__ == "__main__":
    launch(scan, "scan_labels")
