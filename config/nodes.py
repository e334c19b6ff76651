"""Build what the nodes of a config name."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from config.validation import LOADER_KEYS, pretrained_keys
from utils.config_groups import CONF, options
from utils.config_values import as_size, listed
from utils.errors import UserError
from utils.signatures import signature_of
from utils.text import shown
from utils.trusted import locate
from utils.value_types import requirement

FOLD, OTHER_FOLDS = "fold", "other_folds"
"""The splits of a cross-validation; as in data/folds.py, which takes long to import."""

Node = DictConfig | dict[str, Any]


def plain(node: Node) -> dict[str, Any]:
    """Return a config or one of its nodes, resolved and in plain containers; if it is plain, unchanged."""
    if isinstance(node, dict):
        return node
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True, enum_to_str=True))


def build(node: Node, path: str, **supplied: Any) -> Any:
    """Call a node's `_target_` with its arguments and the supplied ones. Nodes inside it are built first.

    Strings are literal. Of Hydra's other keys only `_partial_` is supported, and only in nodes inside.

    Args:
        path: the node's key, for messages.

    Raises:
        UserError: the target raises an exception.
    """
    values = plain(node)
    arguments = {k: _built(v, f"{path}.{k}") for k, v in values.items() if k not in ("_target_", "_partial_")}
    target = str(values["_target_"])
    try:
        return locate(target)(**{**arguments, **supplied})
    except UserError:
        raise
    except Exception as error:
        if isinstance(error.__cause__, ValidationError):  # pydantic's, from albumentations
            errors = error.__cause__.errors(include_url=False)
            argument, value = errors[0]["loc"][:1], errors[0]["input"]
            place = f"{path}.{argument[0]}={shown(value)}" if argument else path
            raise UserError(f"{place}: {requirement([e for e in errors if e['loc'][:1] == argument])}") from error
        lines = [line.strip() for line in str(error).splitlines()]
        kind = "" if lines and isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: "
        raise UserError(f"{path}: {target.rpartition('.')[2]}: {kind}{' '.join(lines)}") from error


def _built(value: Any, path: str) -> Any:
    """Build the nodes in a value."""
    if isinstance(value, list):
        return [_built(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "_target_" in value:
        return functools.partial(build, value, path) if value.get("_partial_") else build(value, path)
    return {key: _built(item, f"{path}.{key}") for key, item in value.items()}


def build_network(node: Node, num_classes: int, path: str = "model", in_channels: int = 3) -> Any:
    """Build the network of a `model` node, without pretrained weights; arguments and errors as for `build`.

    Raises:
        UserError: as for `build`, or the network has no argument `in_channels` and needs it.
    """
    values = plain(node)
    target = str(values["_target_"])
    supplied = {"num_classes": num_classes}
    if in_channels != 3:
        supplied["in_channels"] = in_channels
        signature = signature_of(target)
        if signature and not signature.open and "in_channels" not in signature.parameters:
            raise UserError(
                f"{path}: {target} takes images of 3 channels, and the data have {in_channels}; give it an argument"
                " in_channels, or choose another network"
            )
    keys = pretrained_keys(target)
    model = build({key: value for key, value in values.items() if key not in keys}, path, **supplied)
    for name, value in supplied.items():  # networks of libraries do not store them
        with suppress(AttributeError):  # anything may be built; `try_model` reports what is not a network
            setattr(model, name, value)
    return model


def pretrained_options(node: DictConfig) -> dict[str, Any]:
    """Return the arguments of `models.weights.load_pretrained` in a `model` node."""
    values = plain(node)
    return {key: values[key] for key in pretrained_keys(str(values["_target_"])) & values.keys()}


def option_node(group: str, name: str) -> dict[str, Any]:
    """Compose the node of an option of a group."""
    started = GlobalHydra.instance().is_initialized()  # by an entry point, with conf/
    with nullcontext() if started else initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose(f"{group}/{name}"))[group]


def build_dataset(node: Node, split: str) -> Any:
    """Build the data set of a `data` node, without the keys that are the loader's.

    With `folds`, the splits `fold` and `other_folds` are parts of `train_split`.
    """
    values = plain(node)
    own = {key: value for key, value in values.items() if key not in LOADER_KEYS}
    if not values["folds"] or split not in (FOLD, OTHER_FOLDS):
        return build(own, "data", split=split)
    from data.folds import fold_of

    divided = build(own, "data", split=values["train_split"])
    return fold_of(
        divided, split, values["folds"], values["fold"], group_by=values["group_by"], seed=values["fold_seed"]
    )


def training_split(node: Mapping[str, Any]) -> str:
    """Return the name of the split that trains; with `folds`, the other folds of `train_split`."""
    return OTHER_FOLDS if node["folds"] else str(node["train_split"])


def validation_split(node: Mapping[str, Any]) -> str:
    """Return the name of the split that validates; with `folds`, a fold of `train_split`."""
    return FOLD if node["folds"] else str(node["val_split"])


def prediction_options(cfg: DictConfig) -> dict[str, Any]:
    """Return the options of `Predictor` that evaluate.py and infer.py share."""
    return {"tta": listed(cfg.tta), "window": as_size(cfg.window) if cfg.window else None, "overlap": cfg.overlap}


def usual_root(name: str) -> str:
    """Return where the data set of an option of `data` is looked for without `data.root`."""
    return str(Path(os.environ.get("SEGMENTATION_DATA", "datasets"), name))


def data_advice(node: Mapping[str, Any]) -> str:
    """Return a line with the command that finds all mistakes in the data of a `data` node."""
    name = str(node["_target_"]).split(".")[1]
    usual = option_node("data", name) if name in options("data") else {}
    usual["root"] = usual_root(name)
    where = ("root", "images", "masks", "mask_suffix", "labels", "train_split", "val_split")
    what = ("classes", "coarse", "channels", "value_range", "color_tolerance")
    own = [f"data.{key}={node[key]}" for key in (*where, *what) if key in node and node[key] != usual.get(key)]
    words = " ".join(shlex.quote(word) for word in own)
    return f"find all mistakes in the data: {f'python -m tools.check_data data={name} {words}'.rstrip()}"
