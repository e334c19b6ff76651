"""Measure a trained network on a split.

python evaluate.py checkpoint=experiments/<run> split=val
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which may swallow exceptions raised by signals
    from utils.interruption import end_at_once

    end_at_once()

import logging
from typing import Literal

from omegaconf import DictConfig

from cli.config import build_dataset, data_advice, overrides, prediction_options
from cli.launch import launch
from utils.errors import DataFault, UserError
from utils.files import make_writable

log = logging.getLogger("evaluate")


def evaluate(cfg: DictConfig) -> None:
    """Print the metrics of a checkpoint on a split, and write them to files."""
    # Imported here because torch takes seconds: a mistake in the config is reported before.
    import cv2

    from cli.evaluated_data import (
        check_classes,
        data_node,
        is_another,
        kind_of_data,
        log_subset,
        run_node,
        usual_node,
        usual_split,
    )
    from data.checking import checked_samples
    from data.labels import LabelSet
    from engine.checkpoint import load_checkpoint
    from engine.device import choose_device
    from evaluation.measuring import measure
    from evaluation.names import checkpoint_part, different_parts, file_stem, output_folder
    from evaluation.results import show, write_results
    from inference.predictor import Predictor
    from utils.memory import keep_freed_memory

    keep_freed_memory()
    cv2.setNumThreads(1)  # the network needs the cores
    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    own = run_node(checkpoint)
    node = data_node(cfg, checkpoint, own)
    split = cfg.split or usual_split(node, own)
    dataset = build_dataset(node, split)
    check_classes(list(LabelSet.from_dict(checkpoint["labels"]).names), list(dataset.labels.names))
    size = node["image_size"][0], node["image_size"][1]
    # Each sample is read once, so that a cache in memory would not help.
    cache: Literal["none", "disk"] = "disk" if node.get("cache") == "disk" else "none"
    fit = node.get("fit", "stretch")
    try:
        samples = checked_samples(dataset, split, size, masks=False, limit=node["limit"], fit=fit, cache=cache)
    except DataFault as fault:
        raise UserError(f"{fault}\n{data_advice(node)}") from fault
    log_subset(cfg, node, split, len(samples), len(dataset))
    folder = output_folder(cfg.output, cfg.checkpoint)
    make_writable(folder)

    options = prediction_options(cfg)
    tta, window = options["tta"], options["window"]
    predictor = Predictor.from_loaded(checkpoint, device, **options)
    predictor.image_size, predictor.fit = size, fit
    amp = checkpoint["config"].get("trainer", {}).get("amp")
    measured = measure(predictor, dataset, samples, node, split, amp)
    how = "".join(f", {view}" for view in tta) + (f", window {window[0]}x{window[1]}" if window else "")
    where = f" of {node['root']}" if is_another(node, own) and "root" in node else ""
    title = f"{split}{where}, {len(samples)} samples, epoch {checkpoint.get('epoch')}{how}"
    show(dataset.labels.names, measured, title)
    facts = {
        "split": split,
        "samples": len(samples),
        "checkpoint": str(cfg.checkpoint),
        "epoch": checkpoint.get("epoch"),
        "overrides": overrides(),
        "data": node,
        "tta": tta,
        "window": list(window) if window else None,
        "overlap": cfg.overlap if window else None,
        "device": str(device),
    }
    stem = file_stem(
        split,
        checkpoint=checkpoint_part(cfg.checkpoint, in_own_folder=not cfg.output),
        data=kind_of_data(node) if node["_target_"] != own.get("_target_") else None,
        different=different_parts(node, usual_node(node, own, checkpoint)),
        **options,
    )
    for path in write_results(folder, stem, facts, measured, dataset, predictor):
        log.info("wrote %s", path)


if __name__ == "__main__":
    launch(evaluate, "evaluate")
