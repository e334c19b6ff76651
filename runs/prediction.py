"""Build the predictor of infer.py from its config, and choose the device to predict on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import torch
from omegaconf import DictConfig

from config.nodes import build_network, prediction_options
from data.label_files import read_labels
from data.labels import difference
from engine.checkpoint import load_checkpoint, load_weights
from engine.device import choose_device
from engine.normalization import Normalization, normalization_of
from engine.threads import set_threads
from engine.trial import try_model
from export import onnx_model
from inference.ensemble import ensemble_of
from inference.predictor import Predictor
from models.weight_files import read_weights
from sweeps.checkpoints import chosen_checkpoints
from utils.bundled_weights import DEFAULT
from utils.config_values import as_size
from utils.memory import keep_freed_memory
from utils.paths import is_onnx, user_path

log = logging.getLogger("infer")


def predictor_of(cfg: DictConfig) -> Predictor:
    """Build the predictor of a checkpoint, of several (an ensemble), or of a network and its weights.

    Raises:
        UserError: a file cannot be read, or the device, network, weights and options do not fit together.
    """
    keep_freed_memory()
    set_threads("auto")
    cv2.setNumThreads(1)  # the network needs the cores
    size = as_size(cfg.image_size) if cfg.image_size else None
    options = {"samples": cfg.samples, **prediction_options(cfg)}
    checkpoint = cfg.checkpoint or (None if cfg.weights else _bundled_network())
    if checkpoint is not None:
        paths = chosen_checkpoints(checkpoint)
        device = device_for(cfg.device, paths)
        if len(paths) == 1:
            predictor = Predictor.from_checkpoint(paths[0], device, **options)
        else:
            predictor = ensemble_of([Predictor.from_checkpoint(path, device) for path in paths], paths, size, **options)
        predictor.image_size = size or predictor.image_size
        return predictor
    labels = read_labels(user_path(cfg.labels, "labels")).labels
    model = build_network(cfg.model, len(labels))
    state, mean, std, classes = read_weights(cfg.weights)
    if not type(model).__module__.startswith("models."):  # those of this program need no trial, which takes a second
        try_model(model, len(labels), size or (512, 512))
    load_weights(model, state, source=cfg.weights)
    if classes is not None and classes != tuple(labels.names):
        log.warning(
            "labels=%s: its classes are not those that weights=%s was trained for; they differ in %s",
            cfg.labels,
            cfg.weights,
            difference(classes, labels.names),
        )
    normalization = normalization_of(model) if mean is None or std is None else Normalization(mean, std)
    return Predictor(model.to(choose_device(cfg.device)).eval(), labels, size or (512, 512), normalization, **options)


def device_for(name: str, checkpoints: Sequence[str]) -> torch.device:
    """Return the device of a name, as the library that runs these checkpoints or .onnx files has it.

    Raises:
        UserError: the device is not available.
    """
    exported = any(map(is_onnx, checkpoints))
    return onnx_model.choose_device(name) if exported else choose_device(name)


def _bundled_network() -> str:
    """Return the name of the network in `weights/` that is used by default, and log which it is."""
    classes = ", ".join(load_checkpoint(DEFAULT)["labels"]["names"])
    log.info(
        "no checkpoint given: using %s, trained on street scenes (%s); see weights/%s.md", DEFAULT, classes, DEFAULT
    )
    return DEFAULT
