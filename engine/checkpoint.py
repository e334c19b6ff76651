"""Checkpoints: self-contained files that never run code when they are read.

A checkpoint is a dictionary of tensors and plain containers:

    version         of this format
    code            commit of the program that wrote it
    config          the resolved config of the run
    model           weights of the network
    labels, normalization, image_size
    epoch, metrics  when it was written, and the metrics then
    confusion       int64 (C, C), the last validation's
    training        optimiser, scheduler, scaler, random states, progress: for `resume`; only in `last.pt`
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from data.labels import LabelSet
from engine.normalization import Normalization
from models.weights import OPTIONS, encoder_of
from utils.bundled_weights import bundled_names, checkpoint_path
from utils.errors import UserError
from utils.files import atomic_write
from utils.find_run import NEVER_STARTED, never_started, refuse_sweep
from utils.paths import is_folder, is_there
from utils.safe_reading import FileSchema, check_schema
from utils.tensor_file import check_tensors, read_tensor_file
from utils.text import shown
from utils.trusted import trusted_class

VERSION = 1
NEEDED = ("version", "config", "model", "labels", "normalization", "image_size")
ANOTHER = "the file is damaged or was not written by this program: use another checkpoint of the run"

Byte = Annotated[int, Field(ge=0, le=255)]
Count = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=1, le=2**16)]
Mean = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Three = Field(min_length=3, max_length=3)
Channels = Field(min_length=1, max_length=512)
Two = Field(min_length=2, max_length=2)


class StoredConfig(FileSchema):
    """The parts of a run's config that are read from a checkpoint."""

    model: dict[str, Any] = {}
    data: dict[str, Any] | None = None
    trainer: dict[str, Any] | None = None


class StoredLabels(FileSchema):
    """The result of `LabelSet.to_dict`."""

    names: Annotated[list[str], Field(min_length=1, max_length=255)]
    colors: list[Annotated[list[Byte], Three]]
    ids: list[Annotated[int, Field(ge=0, lt=2**16)]] | None = None


class StoredNormalization(FileSchema):
    """The result of `Normalization.to_dict`."""

    mean: Annotated[list[Mean], Channels]
    std: Annotated[list[Deviation], Channels]


class Stored(FileSchema):
    """The types of a checkpoint's values, except those of `training`."""

    config: StoredConfig
    model: dict[str, Tensor]
    labels: StoredLabels
    normalization: StoredNormalization
    image_size: Annotated[list[Pixels], Two]
    epoch: Count | None = None
    metrics: dict[str, float] | None = None
    confusion: Tensor | None = None
    code: str | None = None


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a kill or a full disk at any moment leaves the previous one intact.

    Raises:
        UserError: it cannot be written.
    """
    with atomic_write(path) as file:
        try:
            torch.save({"version": VERSION, **checkpoint}, file)
        except RuntimeError as error:  # torch wraps an OSError
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file, the `checkpoints/best.pt` of a run folder, or a network of `weights/` by its name.

    Checks checksums, the types of all values (except those of `training`), the label set, and that all weights are
    finite.

    Raises:
        UserError: it is missing or damaged, was not written by this program, or by a newer version.
    """
    file = checkpoint_path(path, "checkpoint")
    if is_folder(file):
        file = best_of(file)
    if not is_there(file):
        names = ", ".join(bundled_names())
        raise UserError(f"there is no checkpoint {file}; pass a run folder, a .pt file, or one of {names}")
    if file.name.endswith((".onnx", ".pt2", ".ts.pt")):
        raise UserError(f"{file}: an exported file, not a checkpoint; of these, infer.py runs only .onnx files")
    checkpoint = read_tensor_file(file, "a checkpoint")
    missing = [key for key in NEEDED if not isinstance(checkpoint, dict) or key not in checkpoint]
    if missing or type(checkpoint["version"]) is not int:
        raise UserError(f"{file}: not a checkpoint of this program (without {', '.join(missing) or 'a version'})")
    if checkpoint["version"] > VERSION:
        raise UserError(
            f"{file}: written in checkpoint format {checkpoint['version']} by a newer version of this program;"
            f" this one reads up to format {VERSION}"
        )
    check_schema(Stored, checkpoint, file, ANOTHER)
    check_tensors(checkpoint["model"], file)
    try:
        LabelSet.from_dict(checkpoint["labels"])
    except ValueError as error:
        raise UserError(f"{file}: labels: {shown(str(error), 200)}; {ANOTHER}") from error
    confusion, classes = checkpoint.get("confusion"), len(checkpoint["labels"]["names"])
    if confusion is not None and (confusion.shape != (classes, classes) or confusion.dtype != torch.int64):
        raise UserError(f"{file}: confusion: not int64 of {classes}x{classes} classes; {ANOTHER}")
    return checkpoint


def best_of(run: Path) -> Path:
    """Return the best checkpoint of a run folder, or the last one if no validation has run yet.

    Raises:
        UserError: it is not a run folder, or has no checkpoint.
    """
    best, last = run / "checkpoints" / "best.pt", run / "checkpoints" / "last.pt"
    refuse_sweep(run)
    if not is_there(best) and not is_there(last):
        if never_started(run):
            raise UserError(f"{run}: {NEVER_STARTED}")
        if is_there(run / "config.yaml"):
            raise UserError(f"{run}: it has no checkpoint yet, or ended before the first one was written")
        files = sorted(run.glob("*.pt")) if run.is_dir() else []
        one = f"; pass a file, such as {files[0]}" if files else ""
        raise UserError(f"{run}: not a run folder: there is no checkpoints/best.pt in it{one}")
    return best if is_there(best) else last


def build_model(checkpoint: dict[str, Any]) -> nn.Module:
    """Build the network of a checkpoint, with its weights and the image statistics that they were trained with.

    Raises:
        UserError: the config does not name a model of this project, or the weights do not fit it.
    """
    arguments = dict(checkpoint["config"].get("model") or {})
    target = arguments.pop("_target_", None)
    network = trusted_class(target)
    if not isinstance(network, type) or not issubclass(network, nn.Module):
        raise UserError(
            f"the checkpoint names '{shown(str(target))}' as its model, which is not a model of this project;"
            " if you trust it, name it in a file of conf/model/"
        )
    # Pretrained weights are not loaded again: their files may be gone, and those of the checkpoint replace them.
    own = inspect.signature(network).parameters
    options = {key: arguments.pop(key) for key in OPTIONS if key in arguments and key not in own}
    arguments |= {key: None for key in ("encoder_weights", "weights") if key in arguments}
    normalization = Normalization.from_dict(checkpoint["normalization"])
    channels = len(normalization.mean)
    if len(normalization.std) != channels:
        raise UserError(f"the checkpoint's normalization has {channels} means; {ANOTHER}")
    if channels != 3:
        arguments["in_channels"] = channels
    try:
        model = network(**arguments, num_classes=len(checkpoint["labels"]["names"]))
    except UserError:
        raise
    except Exception as error:  # a value of a wrong type or size, which may be anything
        reason = shown(str(error) or type(error).__name__, 200)
        raise UserError(f"the checkpoint's config does not fit {target}: {reason}; use another checkpoint") from error
    load_weights(model, checkpoint["model"])
    if options.get("freeze_encoder") is True:
        encoder_of(model, "model.freeze_encoder=true").freeze()
    model.input_mean, model.input_std = normalization.mean, normalization.std  # type: ignore[assignment]
    if channels != 3:
        model.in_channels = channels  # type: ignore[assignment]  # networks of libraries do not store it
    return model


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: object = "the checkpoint") -> None:
    """Load weights into a network after `check_weights`, whose arguments and errors it has."""
    check_weights(model, weights, source)
    model.load_state_dict(weights)


def check_weights(model: nn.Module, weights: dict[str, Tensor], source: object) -> None:
    """Check that weights fit a network exactly.

    Args:
        source: where they come from, for messages.

    Raises:
        UserError: names, shapes or kinds of numbers differ; the first tensor is named.
    """
    own = model.state_dict()
    for name in [*own, *weights]:
        have = _described(weights[name], own.get(name)) if name in weights else "missing"
        need = _described(own[name], weights.get(name)) if name in own else "not there"
        if have != need:
            raise UserError(
                f"{source} does not fit {type(model).__name__}: {shown(name, 200)} is {have} in the file"
                f" and {need} in the model; was it trained with another model or class count?"
            )


def _described(tensor: Tensor, other: Tensor | None) -> str:
    """Return the shape of a tensor, and its dtype if the other tensor holds another kind of numbers."""
    same = other is None or tensor.is_floating_point() == other.is_floating_point()
    return f"{tuple(tensor.shape)}{'' if same else f' of {tensor.dtype}'}"
