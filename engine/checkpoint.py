"""Checkpoints: self-contained files that never run code when they are read.

A checkpoint is a dictionary of tensors and plain containers:

    version         of this format
    code            commit of the program that wrote it
    config          the resolved config of the run
    model           weights of the network
    labels, normalization, image_size
    epoch, metrics  when it was written, and the metrics then
    confusion       int64 (C, C), the last validation's
    training        optimiser, scheduler, scaler, random states, progress: what `resume` needs; `last.pt` only
"""

from __future__ import annotations

import importlib
import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

import models
from utils.errors import UserError
from utils.files import replacing
from utils.paths import is_folder, is_there, user_path

VERSION = 1
NEEDED = ("version", "config", "model", "labels", "normalization", "image_size")


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint so that a kill or a full disk at any moment leaves the previous one whole.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(path) as file:
        try:
            torch.save({"version": VERSION, **checkpoint}, file)
        except RuntimeError as error:  # what torch makes of an OSError
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint file, or the `checkpoints/best.pt` of a run folder.

    Raises:
        UserError: there is none, it is damaged or not of this program, or its format is newer than this code.
    """
    file = user_path(path, "checkpoint")
    if is_folder(file):
        file = best_of(file)
    if not is_there(file):
        raise UserError(f"there is no checkpoint {file}; give a run folder or a .pt file")
    if file.name.endswith((".onnx", ".pt2", ".ts.pt")):
        raise UserError(f"{file}: an exported file, not a checkpoint; of these, infer.py runs .onnx files alone")
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(file):
            raise UserError(f"{file}: not a checkpoint, or a damaged one") from error
        raise UserError(
            f"{file}: not a checkpoint of this program: it holds more than tensors and plain values"
        ) from error
    except Exception as error:  # what damaged bytes raise is not documented, and much
        raise UserError(f"{file}: the checkpoint is damaged or truncated; use another one of the run") from error
    missing = [key for key in NEEDED if not isinstance(checkpoint, dict) or key not in checkpoint]
    if missing or not isinstance(checkpoint["version"], int):
        raise UserError(f"{file}: not a checkpoint of this program (without {', '.join(missing) or 'a version'})")
    if checkpoint["version"] > VERSION:
        raise UserError(
            f"{file}: written in checkpoint format {checkpoint['version']} by a newer version of this program;"
            f" this one reads up to format {VERSION}"
        )
    return checkpoint


def best_of(run: Path) -> Path:
    """The best checkpoint of a run folder, or its last one where no validation has run yet."""
    best, last = run / "checkpoints" / "best.pt", run / "checkpoints" / "last.pt"
    if is_folder(run / "0" / "checkpoints"):
        raise UserError(f"{run}: the folder of a sweep; name one of its runs, as in {run / '0'}")
    if not is_there(best) and not is_there(last):
        raise UserError(f"{run}: not a run folder: there is no checkpoints/best.pt in it")
    return best if is_there(best) else last


def build_model(checkpoint: dict[str, Any]) -> nn.Module:
    """The network of a checkpoint, with its weights.

    Raises:
        UserError: the config names something else than a model of this project, or the weights do not fit it.
    """
    arguments = dict(checkpoint["config"].get("model") or {})
    target = arguments.pop("_target_", None)
    network = own_class(target, models)
    if network is None or not issubclass(network, nn.Module):
        raise UserError(f"the checkpoint names '{target}' as its model, which is not a model of this project")
    # The files and addresses that it began with may be out of reach, and the checkpoint's weights come next anyway.
    began = [key for key in ("encoder_weights", "weights") if arguments.get(key) is not None]
    if arguments.get("freeze_encoder") == "auto":  # which depends on them
        arguments["freeze_encoder"] = bool(began) and getattr(network, "FREEZES_TRAINED_ENCODER", False)
    arguments |= dict.fromkeys(began)
    try:
        model = network(**arguments, num_classes=len(checkpoint["labels"]["names"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"the checkpoint's config does not fit {target}: {error}") from error
    load_weights(model, checkpoint["model"])
    return model


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Loads weights that must fit exactly.

    Raises:
        UserError: names or shapes differ; the message shows the first difference.
    """
    own = model.state_dict()
    for name in [*own, *weights]:
        have = tuple(weights[name].shape) if name in weights else "missing"
        need = tuple(own[name].shape) if name in own else "not there"
        if have != need:
            raise UserError(
                f"the checkpoint does not fit {type(model).__name__}: {name} is {have} in the checkpoint"
                f" and {need} in the model; was it trained with another model or class count?"
            )
    model.load_state_dict(weights)


def own_class(target: Any, package: ModuleType) -> type | None:
    """The class that a checkpoint's `_target_` names, if it is one of a package of this project.

    A checkpoint may come from anywhere, so its `_target_` is not resolved like a config's: the module must be a file
    of the package, and the class must be defined in that very file.
    """
    module_name, _, class_name = str(target).rpartition(".")
    first, *rest = module_name.split(".")
    file = Path(package.__path__[0], *rest).with_suffix(".py")
    if first == package.__name__ and rest and all(part.isidentifier() for part in rest) and file.is_file():
        found = vars(importlib.import_module(module_name)).get(class_name)
        if isinstance(found, type) and found.__module__ == module_name:
            return found
    return None
