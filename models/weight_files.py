"""Files of weights: reading, downloading and comparing with a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from utils.bundled_weights import checkpoint_path
from utils.errors import UserError
from utils.find_run import refuse_sweep
from utils.paths import is_file, is_folder
from utils.tensor_file import check_tensors, read_tensor_file

StateDict = Mapping[str, Tensor]


class Weights(NamedTuple):
    """The content of a file of weights.

    Attributes:
        state: the state dict.
        mean, std: RGB statistics of the images used for training, for values from 0 to 1; None for a plain state dict,
            which does not contain them.
        classes: names of the classes; None for a plain state dict.
    """

    state: dict[str, Tensor]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None


def read_state_dict(path: str) -> dict[str, Tensor]:
    """Read a state dict; arguments and errors as for `read_weights`."""
    return read_weights(path).state


def read_weights(path: str) -> Weights:
    """Read weights from a plain state dict, a checkpoint, a run folder (its best checkpoint), or the name of a network
    in `weights/`.

    Raises:
        UserError: the file is missing or damaged, holds no weights, or holds NaN or infinite ones.
    """
    file = checkpoint_path(path, "weights")
    refuse_sweep(file)
    if is_folder(file):
        kept = [file / "checkpoints" / name for name in ("best.pt", "last.pt")]
        file = next((path for path in kept if is_file(path)), kept[0])
    if not is_file(file):
        raise UserError(f"weights: there is no file {file}; pass a file of weights, a checkpoint or a run folder")
    found = read_tensor_file(file, "a file of weights")
    if isinstance(found, dict):
        # Checkpoints of this and most other programs hold the weights under one of these names.
        nested = [found[key] for key in ("model", "state_dict") if isinstance(found.get(key), dict)]
        state = nested[0] if nested else found
        if state and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
            check_tensors(state, file)
            return Weights(state, *_statistics(found), _classes(found))
    raise UserError(
        f"{file}: holds no state dict; expected names with their tensors, as torch.save(model.state_dict())"
    )


def _statistics(checkpoint: Mapping[str, Any]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation in a checkpoint of this program, else None."""
    found = checkpoint.get("normalization")
    values = [found.get("mean"), found.get("std")] if isinstance(found, dict) else []
    if not values or not all(isinstance(v, list) and all(isinstance(x, float | int) for x in v) for v in values):
        return None, None
    mean, std = (tuple(v) for v in values if v is not None)
    return mean, std


def _classes(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the classes in a checkpoint of this program, else None."""
    labels = checkpoint.get("labels")
    names = labels.get("names") if isinstance(labels, dict) else None
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def download_state_dict(url: str, key: str) -> dict[str, Tensor]:
    """Download weights, or load them from PyTorch's cache.

    Args:
        key: the config key whose value is `imagenet`, for messages.

    Raises:
        UserError: the download fails or is damaged. The message says where to put the file instead.
    """
    name, folder = url.rpartition("/")[2], Path(torch.hub.get_dir(), "checkpoints")
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:
        if (folder / name).exists():
            raise UserError(f"{key}=imagenet: {folder / name} is damaged; delete it and try again") from error
        raise UserError(
            f"{key}=imagenet: cannot download {url} ({getattr(error, 'reason', error)});"
            f" put the file into {folder}, or pass {key}=<path of {name}>"
        ) from error


def misfits(own: StateDict, other: StateDict) -> list[str]:
    """Describe each difference that keeps the state dict `other` from being loaded into a network with state `own`."""
    wrong = [
        f"{key} is {_shape(other[key])} there and {_shape(value)} here"
        for key, value in own.items()
        if key in other and other[key].shape != value.shape
    ]
    wrong += [
        f"{key} holds {other[key].dtype} there and {value.dtype} here"
        for key, value in own.items()
        if key in other and other[key].is_floating_point() != value.is_floating_point()
    ]
    # Early versions of PyTorch did not store these counters.
    wrong += [f"{key} is missing there" for key in own if key not in other and not key.endswith("num_batches_tracked")]
    return wrong + [f"{key} does not exist here" for key in other if key not in own]


def with_input_channels(state: dict[str, Tensor], own: StateDict) -> dict[str, Tensor]:
    """Return a state dict in which convolutions of RGB images fit a network for images of other channels.

    As timm does: the kernels of red, green and blue are repeated in turn and scaled by 3 / channels; for one channel
    they are summed.

    Args:
        own: state dict of that network. Only convolutions that differ only in their 3 input channels are converted.
    """
    return {key: _with_channels(value, own[key].shape) if key in own else value for key, value in state.items()}


def _with_channels(kernels: Tensor, shape: torch.Size) -> Tensor:
    if kernels.ndim != 4 or len(shape) != 4 or kernels.shape[1] != 3 or shape[1] == 3:
        return kernels
    if (kernels.shape[0], *kernels.shape[2:]) != (shape[0], *shape[2:]):
        return kernels
    if shape[1] == 1:
        return kernels.sum(1, keepdim=True)
    return kernels[:, torch.arange(shape[1]) % 3] * (3 / shape[1])


def _shape(tensor: Tensor) -> str:
    return "x".join(str(length) for length in tensor.shape) or "a number"
