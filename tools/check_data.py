"""Check a data set for mistakes, and print its statistics.

python -m tools.check_data data=voc splits=[val]
"""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cli.launch import launch
from config.current_run import chosen
from config.nodes import build_dataset, plain, training_split, validation_split
from utils.errors import DataFault, NotThere, PartlyFailed, UserError
from utils.files import atomic_write, make_writable
from utils.paths import user_path
from utils.text import enumeration, plural
from utils.trusted import locate

if TYPE_CHECKING:
    from data.samples import SegmentationDataset
    from data.statistics import SplitFacts

log = logging.getLogger("check_data")

SHOWN = 20  # findings of each kind on the console; the file lists all
CORRUPT = "Corrupt JPEG data"  # printed by libjpeg, which fills what it cannot decode


def check(cfg: DictConfig) -> None:
    """Inspect the splits, print their statistics, draw samples, and fail if something is wrong."""
    # Slow to import, so only here, where the config is known to be right.
    from data.quiet import overheard
    from data.statistics import inspect
    from visualization.figures import draw_sheet

    option = chosen("data") or "data"
    folder = user_path(cfg.output, "output") if cfg.output else Path("outputs", "check_data", option)
    if cfg.data.get("root"):
        user_path(cfg.data.root, "data.root")
    wanted = [cfg.splits] if isinstance(cfg.splits, str) else cfg.splits
    datasets, broken = splits_there(plain(cfg.data), None if wanted is None else list(wanted))
    make_writable(folder)
    facts: dict[str, SplitFacts] = {}
    for split, dataset in datasets.items():
        length = len(dataset) if cfg.data.limit is None else min(cfg.data.limit, len(dataset))
        with overheard() as heard:
            facts[split] = inspect(dataset, split, length)
            is_corrupt = CORRUPT in heard()
        describe(split, facts[split], dataset.labels, dataset.labels_file)
        if reason := dataset.bands.range_warning(facts[split].largest, facts[split].saturated):
            log.warning("the photos of '%s': %s", split, reason)
        if is_corrupt and (damaged := damaged_photos(dataset, length)):
            log.warning(
                "photos of '%s' that are damaged, and may be grey or shifted in parts: %s; look at them",
                *(split, enumeration(damaged, SHOWN)),
            )
        panels = spread_samples(dataset, length, cfg.pictures)
        if panels:
            path = folder / f"{split.replace('/', '_')}.png"
            draw_sheet(panels, dataset.labels, f"{split}: {plural(len(facts[split].names), 'sample')}", path)
            log.info("wrote %s", path)

    found = findings(facts, datasets, {training_split(cfg.data), validation_split(cfg.data)}) | broken
    faults = label_faults(facts, datasets, cfg.data)
    if faults:
        found["labels"] = faults
    report = folder / "findings.txt"
    text = "".join(f"{kind}: {line}\n" for kind, lines in found.items() for line in lines)
    with atomic_write(report) as file:
        file.write((text or "no mistakes found\n").encode("utf-8", "surrogateescape"))
    if found:
        raise PartlyFailed(as_text(found, report))
    log.info("found no mistakes in %s", ", ".join(f"{split} ({len(facts[split].names)})" for split in facts))


def splits_there(
    node: dict[str, Any], wanted: list[str] | None
) -> tuple[dict[str, SegmentationDataset], dict[str, list[str]]]:
    """Return the data sets of the wanted splits (None: all that exist), and why others cannot be opened.

    Raises:
        UserError: a wanted split cannot be opened, or none exists.
    """
    if wanted is not None:
        return {split: build_dataset(node, split) for split in wanted}, {}
    there: dict[str, SegmentationDataset] = {}
    broken: dict[str, list[str]] = defaultdict(list)
    absent: dict[str, NotThere] = {}
    used = training_split(node), validation_split(node)
    dataset: Any = locate(str(node["_target_"]))
    for split in dict.fromkeys([*used, *dataset.splits]):
        # Do not download splits that nobody asked for.
        asked = {} if split in used or "download" not in node else {"download": False}
        try:
            there[split] = build_dataset(node | asked, split)
        except NotThere as error:
            absent[split] = error
        except UserError as error:
            broken[str(error)].append(split)
    if not there and not broken:
        raise next(iter(absent.values()))
    for split, reason in absent.items():
        log.info("%s: skipped: %s", split, str(reason).splitlines()[0])
    lines = [f"{', '.join(splits)}: {reason}" for reason, splits in broken.items()]
    return there, {"unreadable": lines} if lines else {}


def describe(split: str, facts: SplitFacts, labels: Any, labels_file: Path | None) -> None:
    """Print the classes with their shares and suggested weights, and the mean and deviation of the colours."""
    from data.checking import class_warnings
    from losses.class_weights import enet, median_frequency
    from utils.tables import table

    pixels = facts.pixels[:, : len(labels)]
    if not pixels.any():
        log.info("%s: %s, none with a labelled pixel", split, plural(len(facts.names), "sample"))
        return
    total = facts.pixels.sum()
    rows = [["class", "images", "pixels", "weight (enet)", "weight (median_frequency)"]]
    columns = ((pixels > 0).sum(0), pixels.sum(0) / total, enet(pixels), median_frequency(pixels))
    for name, images, share, weight, other in zip(labels.names, *columns, strict=True):
        rows.append([name, str(images), f"{share:.3%}", f"{weight:.3f}", f"{other:.3f}"])
    ignored = facts.pixels[:, 255]
    rows.append(["(ignored)", str((ignored > 0).sum()), f"{ignored.sum() / total:.3%}", "", ""])
    log.info("%s", table(rows, f"{split}, {plural(len(facts.names), 'sample')}"))
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (facts.mean, facts.std))
    channels = "red, green, blue" if len(facts.mean) == 3 else "each channel"
    log.info("mean of %s: %s; standard deviation: %s", channels, mean, std)
    for line in class_warnings(facts.pixels, len(facts.pixels), labels, split, labels_file):
        log.info("%s", line)
    empty = [name for name, counts in zip(facts.names, pixels, strict=True) if not counts.any()]
    if empty:
        log.info("images without a labelled pixel: %d, such as %s", len(empty), ", ".join(empty[:3]))


def damaged_photos(dataset: SegmentationDataset, length: int) -> list[str]:
    """Return the JPEGs among the first samples of which libjpeg warns."""
    import cv2

    from data.images import decode, read_encoded
    from data.quiet import overheard

    found = []
    with overheard() as heard:
        for index in range(length):  # one at a time, since the text names no file
            path, before = dataset.files(index)[0], len(heard())
            with suppress(DataFault):
                encoded = read_encoded(path)
                if encoded.startswith(b"\xff\xd8"):
                    decode(encoded, path, cv2.IMREAD_REDUCED_GRAYSCALE_8)
            if CORRUPT in heard()[before:]:
                found.append(path)
    return found


def findings(
    facts: dict[str, SplitFacts], datasets: dict[str, SegmentationDataset], used: set[str]
) -> dict[str, list[str]]:
    """Return kind -> list of mistakes, one line each.

    A photo in two splits is a leak, unless one split is part of the other by definition and training does not use both.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for split, each in facts.items():
        if not each.names and not each.faults:
            found["empty"].append(f"the split '{split}' is empty")
        for fault in each.faults:
            found[fault.kind].append(str(fault))
    for one, other in combinations(facts, 2):
        parts = datasets[one].parts
        if {one, other} != used and set(parts.get(one, {one})) & set(parts.get(other, {other})):
            continue
        places = dict(zip(facts[other].digests, facts[other].names, strict=True))
        for name, digest in zip(facts[one].names, facts[one].digests, strict=True):
            if digest in places:
                found["leak"].append(f"{name} of {one} is the same photo as {places[digest]} of {other}")
    return {kind: list(dict.fromkeys(lines)) for kind, lines in found.items()}  # splits may share a file


def label_faults(facts: dict[str, SplitFacts], datasets: dict[str, SegmentationDataset], node: DictConfig) -> list[str]:
    """Return why training on these splits would have nothing to learn or to measure, one line per split."""
    from data.checking import class_fault

    found = []
    for split in dict.fromkeys([training_split(node), validation_split(node)]):
        if split in facts and facts[split].names:
            file, single = datasets[split].labels_file, split != training_split(node)
            pixels, labels = facts[split].pixels, datasets[split].labels
            fault = class_fault(pixels, labels, split, file, single or node["allow_single_class"])
            if fault:
                found.append(". ".join(fault.splitlines()))
    return found


def as_text(found: dict[str, list[str]], report: Path) -> str:
    """Return the findings as text for the console."""
    lines = []
    for kind, all_lines in found.items():
        lines.append(f"{kind}: {len(all_lines)}")
        lines += [f"  {line}" for line in all_lines[:SHOWN]]
        if len(all_lines) > SHOWN:
            lines.append(f"  ... and {len(all_lines) - SHOWN} more in {report}")
    return "\n".join(lines)


def spread_samples(dataset: SegmentationDataset, length: int, count: int) -> list[tuple[str, Any, Any]]:
    """Return (name, image, mask) of `count` samples evenly spread over the first `length`, skipping unreadable ones."""
    from data.statistics import evenly_spread

    panels = []
    for index in evenly_spread(length, min(count, length)):
        try:
            image, mask, name = dataset[index]
        except DataFault:
            continue
        panels.append((name, dataset.bands.picture(image), mask))
    return panels


if __name__ == "__main__":
    launch(check, "check_data")
