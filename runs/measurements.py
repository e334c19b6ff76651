"""Plan the measurements of evaluate.py, and load what they need."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from omegaconf import DictConfig

from config.current_run import overrides
from config.nodes import FOLD, OTHER_FOLDS, build_dataset, data_advice, prediction_options
from config.overrides import key_of
from data.checking import check_fits, checked_samples
from data.fingerprint import fingerprint
from data.samples import SegmentationDataset
from engine.checkpoint import load_checkpoint
from evaluation.identity import weights_digest
from evaluation.names import (
    checkpoint_part,
    different_parts,
    ensemble_folder,
    ensemble_part,
    file_stem,
    measured_keys,
    output_folder,
)
from export.onnx_model import OnnxModel
from inference.ensemble import ensemble_of
from inference.predictor import Predictor
from runs.evaluated_data import (
    data_node,
    is_another,
    run_node,
    subset_notes,
    training_photo_warnings,
    usual_node,
    usual_split,
)
from utils.config_values import as_size
from utils.errors import DataFault, UserError
from utils.paths import is_file, is_onnx, user_path
from utils.run_folder import RunFolder
from utils.text import plural

log = logging.getLogger("evaluate")


class Measurement(NamedTuple):
    """A measurement to make, and where its results go.

    Attributes:
        checkpoints: one, or those of an ensemble.
        node: the config node `data`.
        dataset: the whole split.
        length: number of samples to measure, from the first.
        folder, stem: folder of the files, and how their names begin.
        title: title of the tables on the console.
        amp: precision of the run; None for `auto`.
        facts: description of the measurement, for the JSON file.
    """

    checkpoints: list[str]
    node: dict[str, Any]
    split: str
    dataset: SegmentationDataset
    length: int
    folder: Path
    stem: str
    title: str
    amp: str | None
    facts: dict[str, Any]

    @property
    def samples_key(self) -> str:
        """A text that is equal for measurements of the same samples at the same size."""
        return json.dumps([self.split, bool(self.facts["window"]), measured_keys(self.node)], default=str)


def planned(cfg: DictConfig, checkpoints: Sequence[str], logged: set[str] | None = None) -> Measurement:
    """Plan the measurement of a checkpoint, or of an ensemble of several.

    Logs what is particular about the data: only a part of them is measured, or was trained on.

    Args:
        logged: lines that were logged for other runs, and are not repeated; new ones are added.

    Raises:
        UserError: a checkpoint cannot be read or does not fit the data, or a key is wrong.
    """
    loaded = [read_network(path) for path in checkpoints]
    first, own = loaded[0], run_node(loaded[0])
    node = data_node(cfg, first, own)
    split = cfg.split or usual_split(node, own, _validated_on(checkpoints[0]))
    nodes = [run_node(checkpoint) for checkpoint in loaded]
    if len(loaded) > 1:
        _check_held_out(split, nodes)
    dataset = build_dataset(node, split)
    check_fits(len(first["normalization"]["mean"]), first["labels"]["names"], dataset)
    count = min(len(dataset), node["limit"] or len(dataset))
    notes = dict.fromkeys(subset_notes(cfg, node, split, count, len(dataset)), logging.INFO)
    notes |= dict.fromkeys(training_photo_warnings(dataset, node, split, nodes), logging.WARNING)
    logged = set() if logged is None else logged
    for line, level in notes.items():
        if line not in logged:
            log.log(level, "%s", line)
            logged.add(line)

    options = prediction_options(cfg)
    tta, window = options["tta"], options["window"]
    how = "".join(f", {view}" for view in tta) + (f", window {window[0]}x{window[1]}" if window else "")
    where = f" of {node['root']}" if is_another(node, own) and "root" in node else ""
    epochs = [checkpoint.get("epoch") for checkpoint in loaded]
    who = f"mean of {len(loaded)} networks" if len(loaded) > 1 else f"epoch {epochs[0]}"
    if is_onnx(checkpoints[0]) and len(loaded) == 1:
        who = Path(checkpoints[0]).name
    facts = {
        "split": split,
        "samples": count,
        "checkpoint": checkpoints[0] if len(loaded) == 1 else list(checkpoints),
        "epoch": epochs[0] if len(loaded) == 1 else epochs,
        "weights": weights_digest(checkpoint["model"] for checkpoint in loaded),
        "photos": fingerprint(dataset, count)["sha256"],
        "overrides": overrides(),
        "data": node,
        "tta": tta,
        "window": list(window) if window else None,
        "overlap": cfg.overlap if window else None,
    }
    if len(loaded) == 1:
        folder = output_folder(cfg.output, checkpoints[0])
        part = checkpoint_part(checkpoints[0], in_own_folder=not cfg.output)
    else:
        folder, part = ensemble_folder(cfg.output, checkpoints), ensemble_part(checkpoints)
    stem = file_stem(
        split,
        checkpoint=part,
        data=node["_target_"].split(".")[1] if node["_target_"] != own.get("_target_") else None,
        different=different_parts(node, usual_node(node, own, first)),
        **options,
    )
    title = f"{split}{where}, {plural(count, 'sample')}, {who}{how}"
    amp = (first["config"].get("trainer") or {}).get("amp")
    return Measurement(list(checkpoints), node, split, dataset, count, folder, stem, title, amp, facts)


def _validated_on(checkpoint: str) -> str | None:
    """Return the hash of the validation samples of a checkpoint's run; None if it lies in no run folder.

    The checkpoint may be the run folder, a file in its `checkpoints/`, or an exported file in it.
    """
    place = user_path(checkpoint, "checkpoint")
    runs = [folder for folder in (place, *place.parents[:2]) if is_file(folder / "summary.json")]
    recorded = RunFolder(runs[0]).read_summary().get("samples") if runs else None
    return recorded and recorded["validation"]["sha256"]


def read_network(path: str) -> dict[str, Any]:
    """Read a checkpoint, or describe an exported ONNX file in the same way, with its bytes in place of the weights.

    Raises:
        UserError: the file cannot be read.
    """
    if not is_onnx(path):
        return load_checkpoint(path)
    file = user_path(path, "checkpoint")
    facts = OnnxModel(file).facts
    return {
        "config": facts.run_config(),
        "labels": facts.labels.to_dict(),
        "normalization": facts.normalization.to_dict(),
        "image_size": list(facts.image_size),
        "model": {"file": torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)},
    }


def _predictor(path: str, loaded: dict[str, Any], device: torch.device, **options: Any) -> Predictor:
    if is_onnx(path):
        return Predictor.from_checkpoint(path, device, **options)
    return Predictor.from_loaded(loaded, device, **options)


def _check_held_out(split: str, nodes: Sequence[dict[str, Any]]) -> None:
    """Check that no network of an ensemble was trained on the photos to measure.

    Raises:
        UserError: the split is a fold, and the networks have different ones.
    """
    folds = {json.dumps([node.get(key) for key in ("folds", "fold", "fold_seed", "group_by")]) for node in nodes}
    if split in (FOLD, OTHER_FOLDS) and len(folds) > 1:
        raise UserError(
            f"split={split}: the networks have different folds, so that each was trained on what others hold out; pass"
            " the split of photos that none was trained on, such as split=test"
        )


def samples_of(planned: Measurement, cache: Literal["none", "ram", "disk"]) -> SegmentationDataset:
    """Return the samples to measure, after a check of their files.

    Raises:
        UserError: a file is damaged, or there is no room for the cache.
    """
    node = planned.node
    size = None if planned.facts["window"] else as_size(node["image_size"])
    options: dict[str, Any] = {"masks": False, "limit": node["limit"], "fit": node["fit"], "cache": cache}
    try:
        return checked_samples(planned.dataset, planned.split, size, **options)
    except DataFault as fault:
        raise UserError(f"{fault}\n{data_advice(node)}") from fault


def usual_cache(planned: Measurement) -> Literal["none", "disk"]:
    """Return where to keep samples that are read once, for which a cache in memory would not help."""
    return "disk" if planned.node["cache"] == "disk" else "none"


def predictor_for(planned: Measurement, cfg: DictConfig, device: torch.device) -> Predictor:
    """Return the network, or the ensemble, that is measured.

    Raises:
        UserError: the networks do not fit together, or do not accept an option.
    """
    loaded = [read_network(path) for path in planned.checkpoints]
    # Read again, since a run that is still training may have written a better checkpoint.
    planned.facts["weights"] = weights_digest(checkpoint["model"] for checkpoint in loaded)
    planned.facts["device"] = str(device)
    options, node = prediction_options(cfg), planned.node
    if len(loaded) == 1:
        predictor = _predictor(planned.checkpoints[0], loaded[0], device, **options)
    else:
        pairs = zip(planned.checkpoints, loaded, strict=True)
        members = [_predictor(path, checkpoint, device) for path, checkpoint in pairs]
        is_typed = "data.image_size" in map(key_of, overrides())
        size = as_size(node["image_size"]) if is_typed else None
        predictor = ensemble_of(members, planned.checkpoints, size, **options)
    predictor.image_size, predictor.fit = as_size(node["image_size"]), node["fit"]
    return predictor
