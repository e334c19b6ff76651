"""Export a trained network from the config of tools.export, and compare the file with PyTorch."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from config.nodes import build_dataset, training_split, validation_split
from data.bands import Bands, bands_of
from data.checking import check_files, check_fits
from data.loading import ValidationLoader
from data.resized import ResizedSamples
from data.statistics import evenly_spread
from data.synthetic import Synthetic
from engine.checkpoint import build_model, load_checkpoint
from engine.evaluator import evaluate
from engine.metrics import scores
from export.agreement import Network, compare
from export.exported import as_bytes, load, with_texts
from export.facts import Facts, facts_of
from export.onnx_model import OnnxModel
from export.quantization import quantize_onnx
from inference.inputs import found_below
from runs.evaluated_data import data_node, run_node
from utils.errors import PartlyFailed, UserError
from utils.files import atomic_write
from utils.paths import is_file, is_folder, user_path
from utils.tables import table
from utils.text import plural

log = logging.getLogger("export")

COMPARED = 4  # photos to compare on
AGREEING = 0.999  # minimum share of pixels with the same class, unless quantised


def export_network(cfg: DictConfig, output: Path) -> None:
    """Write the file, load it again, and print how it compares with PyTorch.

    Raises:
        UserError: the checkpoint or the photos cannot be read, or an option does not fit the network.
        PartlyFailed: the file does not agree with PyTorch; it is not written.
    """
    checkpoint = load_checkpoint(cfg.checkpoint)
    model = build_model(checkpoint).eval()
    bands = bands_of(checkpoint["config"], len(checkpoint["normalization"]["mean"]))
    if cfg.preprocessing and bands.value_range is not None:
        raise UserError(
            "preprocessing=true: takes photos of bytes, and the network was trained with data.value_range; leave it out"
        )
    height, width = cfg.image_size or checkpoint["image_size"]
    dynamic = cfg.dynamic and cfg.format != "torchscript"  # a trace has a fixed size
    facts = facts_of(checkpoint, model, (height, width), dynamic, cfg.preprocessing)
    photos, source = photos_to_compare_on(cfg, checkpoint, facts, bands)
    node = data_node(cfg, checkpoint, run_node(checkpoint)) if cfg.quantize else {}
    training = samples(node, training_split(node), facts) if node else None
    validation = samples(node, validation_split(node), facts) if node else None

    log.info("exporting %s, which may take a minute or two", facts.model)
    plain, facts = exported(cfg.format, model, facts)
    content = plain
    if training is not None:
        content, facts = quantized(plain, facts, training, cfg.calibration)
    with atomic_write(output) as file:  # nothing is left behind if the file does not agree
        file.write(content)
        file.flush()
        network = load(cfg.format, Path(file.name), facts)
        equal = show_agreement(model, network, facts, photos, source)
        if equal < AGREEING and not facts.quantized:
            raise PartlyFailed(
                f"{output} is not written: its masks equal those of PyTorch in only {equal:.2%} of the pixels"
                + ("; pass dynamic=false" if facts.dynamic else "")
            )
    if validation is not None:
        show_cost(model, plain, output, facts, validation)
    sizes = "any batch and size from 32x32" if facts.dynamic else f"one image of {height}x{width}"
    log.info("wrote %s: %.2f MB, for %s", output, len(content) / 1e6, sizes)


def photos_to_compare_on(
    cfg: DictConfig, checkpoint: dict[str, Any], facts: Facts, bands: Bands
) -> tuple[list[np.ndarray], str]:
    """Return photos (H, W, channels) and a description of them: `images`, or else validation samples or generated ones.

    Raises:
        UserError: `images` does not exist or holds no photo.
    """
    if cfg.images is not None:
        given = user_path(cfg.images, "images")
        paths = [given] if is_file(given) else []
        if is_folder(given):
            paths = found_below(given, key="images")
        if not paths:
            raise UserError(f"images={given}: no such photo, or no photo in this folder")
        return [bands.read(path) for path in paths[:COMPARED]], f"{plural(len(paths[:COMPARED]), 'photo')} of {given}"
    try:
        node = data_node(cfg, checkpoint, run_node(checkpoint))
        found = samples(node, validation_split(node), facts)
        source = f"{plural(min(COMPARED, len(found)), 'validation sample')} of {type(found.dataset).__name__}"
        return [found.dataset[i].image for i in range(min(COMPARED, len(found)))], source
    except UserError as error:
        if cfg.get("data") or cfg.quantize:
            raise
        log.warning("%s\n... comparing on generated scenes instead; images=<folder> compares on photos", error)
    scenes = Synthetic(facts.image_size, "val", val_length=COMPARED)
    channels = [channel % 3 for channel in range(bands.channels)]
    return [scenes[i].image[..., channels].astype(bands.dtype) for i in range(COMPARED)], f"{COMPARED} generated scenes"


def samples(node: dict[str, Any], split: str, facts: Facts) -> ResizedSamples:
    """Return the samples of a split, resized to the network's image size.

    Raises:
        UserError: there are none, or their classes are not those of the network.
    """
    dataset = build_dataset(node, split)
    check_fits(len(facts.normalization.mean), facts.labels.names, dataset)
    found = ResizedSamples(dataset, facts.image_size, masks=False, limit=node["limit"], fit=node["fit"])
    check_files(found, split)
    return found


def exported(kind: Any, model: nn.Module, facts: Facts) -> tuple[bytes, Facts]:
    """Return the content of the file and its facts; of a fixed size if the network cannot be exported for any size."""
    if facts.dynamic:
        try:
            return as_bytes(kind, model, facts), facts
        except Exception as error:  # torch does not document its exceptions
            reason = (str(error.__cause__ or error).strip().splitlines() or [""])[0]
            log.warning("%s cannot be exported for any size (%s); exporting it for one", facts.model, reason)
    fixed = dataclasses.replace(facts, dynamic=False)
    return as_bytes(kind, model, fixed), fixed


def quantized(plain: bytes, facts: Facts, training: ResizedSamples, count: int) -> tuple[bytes, Facts]:
    """Quantise an ONNX file to 8 bits, calibrated on `count` samples evenly spread over the training split."""

    def inputs(index: int) -> np.ndarray:
        image = torch.from_numpy(training[index].image)[None]
        return (image if facts.preprocessing else facts.normalization(image.permute(0, 3, 1, 2))).contiguous().numpy()

    chosen = evenly_spread(len(training), count)
    log.info("calibrating on %s", plural(len(chosen), "training sample"))
    small = dataclasses.replace(facts, quantized="int8")
    return with_texts(quantize_onnx(plain, map(inputs, chosen)), small.to_texts()), small


def show_agreement(model: nn.Module, network: Network, facts: Facts, photos: list[np.ndarray], source: str) -> float:
    """Print how a file compares with PyTorch, at two sizes if it accepts any; return the smallest share of pixels with
    the same class."""
    sizes = [facts.image_size]
    if facts.dynamic:  # add an odd size
        height, width = (max(side * 3 // 4 | 1, 33) for side in facts.image_size)
        sizes.append((height, width))
    head = ["size", "batch", "max difference", "std of logits", "equal pixels", "PyTorch, per image", "file, per image"]
    rows = [head]
    least = 1.0
    for size in sizes:
        for batch in (1, 2):
            found = compare(lambda images: model(facts.normalization(images)), network, photos, size, batch)
            least = min(least, found.equal)
            times = [f"{seconds * 1000:.1f} ms" for seconds in found.seconds]
            shown = [f"{found.difference:.2g}", f"{found.spread:.2g}", f"{found.equal:.3%}"]
            rows.append([f"{size[0]}x{size[1]}", str(batch), *shown, *times])
    log.info("compared on %s, threads: %d", source, torch.get_num_threads())
    log.info("%s", table(rows))
    return least


def show_cost(model: nn.Module, plain: bytes, output: Path, facts: Facts, validation: ResizedSamples) -> None:
    """Print the loss of mIoU by quantisation, and the gain in time and size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(plain)
        before, after = OnnxModel(path), OnnxModel(output)
    photos = [validation[i].image for i in range(min(COMPARED, len(validation)))]
    times = compare(
        lambda images: before(before.normalization(images)),
        lambda images: after(after.normalization(images)),
        photos,
        facts.image_size,
        batch=1,
    ).seconds
    mious = [miou(model, facts.normalization, validation), miou(after, after.normalization, validation)]
    rows = [["", "mIoU", "time per image", "size"]]
    for name, score, seconds, size in zip(
        ("float32", "int8"), mious, times, (len(plain), output.stat().st_size), strict=True
    ):
        rows.append([name, f"{score:.4f}", f"{seconds * 1000:.1f} ms", f"{size / 1e6:.2f} MB"])
    rows.append(["difference", f"{mious[1] - mious[0]:+.4f}", f"{times[1] / times[0]:.2f} x", ""])
    log.info("%s:\n%s", plural(len(validation), "validation sample"), table(rows))


def miou(model: nn.Module, normalization: Any, validation: ResizedSamples) -> float:
    """Return the mean IoU of a network on validation samples, on the CPU."""
    counted = evaluate(
        model,
        None,
        ValidationLoader(validation, batch_size=1, fit=validation.fit),
        num_classes=len(validation.labels),
        device=torch.device("cpu"),
        normalization=normalization,
    )
    return float(scores(counted.confusion).miou)
