"""What the entry points make of their config: checked, plain, and built into components.

Below the entry points, only this module, `launch`, `explain`, `command_line` and `sweep_words` of `utils` know Hydra.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cli.checks import check_config, differences
from cli.explain import explain
from cli.schema import Loader
from cli.validation import LOADER_KEYS, Origin, check_keys, pretrained_keys
from utils.errors import UserError
from utils.groups import CONF, options
from utils.paths import user_path
from utils.trusted import locate, read_plain

FOLD, OTHER_FOLDS = "fold", "other_folds"
"""The splits of a cross-validation; as in data/folds.py, which takes long to import."""
CHOSEN = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "experiment")
"""Groups whose options a run notes."""


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config in plain containers."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


def build(node: DictConfig | dict[str, Any], path: str, **supplied: Any) -> Any:
    """Call a node's `_target_` with its arguments and the supplied ones; nodes inside it are built first.

    Strings are taken as they are. Of Hydra's other keys only `_partial_` is known, and only in nodes inside.

    Args:
        path: the node's key, for messages.

    Raises:
        UserError: the target refuses an argument, or fails in any other way.
    """
    values = plain(node) if isinstance(node, DictConfig) else node
    arguments = {k: _built(v, f"{path}.{k}") for k, v in values.items() if k not in ("_target_", "_partial_")}
    target = str(values["_target_"])
    try:
        return locate(target)(**{**arguments, **supplied})
    except UserError:
        raise
    except Exception as error:
        # In one line; albumentations passes on pydantic's several, of which the last is an address.
        lines = [line.strip() for line in str(error).splitlines() if "For further information" not in line]
        kind = "" if lines and isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: "
        raise UserError(f"{path}: {target.rpartition('.')[2]}: {kind}{' '.join(lines)}") from error


def _built(value: Any, path: str) -> Any:
    """A value of a node, with the nodes inside it built."""
    if isinstance(value, list):
        return [_built(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "_target_" in value:
        return functools.partial(build, value, path) if value.get("_partial_") else build(value, path)
    return {key: _built(item, f"{path}.{key}") for key, item in value.items()}


def build_network(node: DictConfig | dict[str, Any], num_classes: int, path: str = "model") -> Any:
    """Build the network of a `model` node, without pretrained weights; arguments and errors as `build`."""
    values = plain(node) if isinstance(node, DictConfig) else node
    keys = pretrained_keys(str(values["_target_"]))
    return build({k: v for k, v in values.items() if k not in keys}, path, num_classes=num_classes)


def pretrained_options(node: DictConfig) -> dict[str, Any]:
    """The arguments of `models.weights.load_pretrained` in a `model` node."""
    values = plain(node)
    return {key: values[key] for key in pretrained_keys(str(values["_target_"])) & values.keys()}


def option_node(group: str, name: str) -> dict[str, Any]:
    """The node that an option of a group composes."""
    started = GlobalHydra.instance().is_initialized()  # an entry point has set conf/ already
    with nullcontext() if started else initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose(f"{group}/{name}"))[group]


def build_dataset(node: DictConfig | dict[str, Any], split: str) -> Any:
    """Build the data set of a `data` node, without the keys that are the loader's.

    With `folds`, the splits `fold` and `other_folds` are parts of `train_split`.
    """
    values = plain(node) if isinstance(node, DictConfig) else node
    own = {key: value for key, value in values.items() if key not in LOADER_KEYS}
    if not values.get("folds") or split not in (FOLD, OTHER_FOLDS):
        return build(own, "data", split=split)
    from data.folds import fold_of

    divided = build(own, "data", split=values["train_split"])
    options = {"group_by": values.get("group_by"), "seed": values.get("fold_seed", 0)}
    return fold_of(divided, split, values["folds"], values.get("fold", 0), **options)


def training_split(node: Mapping[str, Any]) -> str:
    """Return the name of the split that trains; with `folds`, the other folds of `train_split`."""
    return OTHER_FOLDS if node.get("folds") else str(node["train_split"])


def validation_split(node: Mapping[str, Any]) -> str:
    """Return the name of the split that validates; with `folds`, a fold of `train_split`."""
    return FOLD if node.get("folds") else str(node["val_split"])


def dataset_class(node: dict[str, Any]) -> Any:
    """The class of the data set that a `data` node of conf/ names."""
    return locate(str(node["_target_"]))


def advice(node: Mapping[str, Any]) -> str:
    """The command that finds all that is wrong with the data of a `data` node."""
    name = str(node["_target_"]).split(".")[1]
    usual = option_node("data", name) if name in options("data") else {}
    usual["root"] = str(Path(os.environ.get("SEGMENTATION_DATA", "datasets"), name))
    keys = ("root", "labels", "train_split", "val_split", "classes", "coarse")
    own = [f"data.{key}={node[key]}" for key in keys if key in node and node[key] != usual.get(key)]
    words = " ".join(shlex.quote(word) for word in own)
    return f"all that is wrong with the data: {f'python -m tools.check_data data={name} {words}'.rstrip()}"


def chosen(group: str) -> str | None:
    """The option of a group."""
    return HydraConfig.get().runtime.choices.get(group)


def options_chosen() -> dict[str, str | None]:
    """The option of each group that runs are told apart by."""
    return {group: chosen(group) for group in CHOSEN}


def typed_words(settings: Any) -> list[str]:
    """The words of the command line, or of a job of a sweep, as they stand in Hydra's node."""
    # Unresolved: a word like `name=${seed}` looks like an interpolation there.
    return cast(list[str], OmegaConf.to_container(settings.overrides.task, resolve=False))


def in_sweep() -> bool:
    """Whether the run that is under way is a job of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def output_folder() -> Path:
    """The folder of the run that is under way, relative to the working directory where it is below it."""
    folder, here = Path(HydraConfig.get().runtime.output_dir), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def check(cfg: DictConfig, config_name: str) -> None:
    """Checks everything but Hydra's own node."""
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    settings = cfg.hydra if "hydra" in cfg else HydraConfig.get()
    choices = dict(settings.runtime.choices)
    words = typed_words(settings)
    typed = {word.partition("=")[0].lstrip("+~") for word in words}
    origin = Origin(choices, frozenset(typed - choices.keys()))
    for group, choice in choices.items():
        if ".." in str(choice).replace("\\", "/").split("/"):  # the name of the run folder is made of it
            raise UserError(f"{group}={choice}: name an option in conf/{group}/")
    try:
        config = plain(job)
    except OmegaConfBaseException as error:
        # What cannot be resolved may refer to a key of the loader that is wrong itself.
        if config_name == "train" and not str(error.full_key).startswith("data."):
            data = cast(dict[str, Any], OmegaConf.to_container(job.data, resolve=False))
            check_keys(Loader, {key: value for key, value in data.items() if key in LOADER_KEYS}, origin, "data.")
        raise UserError(explain(error)) from error
    check_config(config_name, config, origin)
    if config.get("resume"):
        run = user_path(config["resume"], "resume")
        changed = differences(read_plain(run / "config.yaml"), config)
        if changed:
            raise UserError(f"resume={config['resume']}: a run goes on with its own config, but {'; '.join(changed)}")
