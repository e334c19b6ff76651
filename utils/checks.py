"""Checks of a composed config: types, ranges, and the arguments of every `_target_`, without importing any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from utils import schema
from utils.errors import UserError, did_you_mean
from utils.groups import CONF, options
from utils.signatures import UnknownTarget, names_in, signature_of, wrong_value

LOADER_KEYS = tuple(schema.Loader.model_fields)
# What the program passes itself when it builds the node of a group.
SUPPLIED = {
    "model": {"num_classes"},
    "data": {"split"},
    "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps", "steps_per_epoch"},
    "logger": {"folder", "first_step"},
}
PRETRAINED = "models.weights.load_pretrained"
"""Takes those keys of the node `model` that are not the network's own."""
OPTIONAL = {"utils.loggers.WandB": ("wandb",), "utils.loggers.MLflow": ("mlflow", "sqlalchemy", "alembic")}
"""Packages of requirements-loggers.txt that a `_target_` needs."""
EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What requirements-export.txt brings."""
TIMING_KEYS = ("batch_size", "device", "threads", "amp", "seconds", "plot")
"""Keys of tools.benchmark that say nothing where nothing is timed."""
MAY_CHANGE = {"resume", "trainer.epochs", "trainer.device", "trainer.log_every", "data.num_workers", "data.cache"}
"""Keys that may be typed beside `resume=` with another value than the run's, as those of the logger may."""
CLASSIFIERS = (*(f"efficientnet_b{i}" for i in range(8)), *(f"efficientnet_lite{i}" for i in range(3)))
"""What tools.classify knows, said here since the check imports no torch."""

Config = dict[str, Any]


class Origin(NamedTuple):
    """Where the values of a config come from, to name the place of a mistake.

    Attributes:
        choices: group -> chosen option.
        typed: keys that the command line sets.
    """

    choices: Mapping[str, Any]
    typed: frozenset[str]

    def place(self, key: str) -> str:
        """'(in conf/model/enet.yaml)' or '(on the command line)'."""
        if any(key == typed or key.startswith((f"{typed}.", f"{typed}[")) for typed in self.typed):
            return "(on the command line)"
        group, _, inside = key.partition(".")
        names = [str(self.choices.get(group)), *_inherited(CONF / group / f"{self.choices.get(group)}.yaml")]
        files = [*((f"{group}/{name}.yaml", inside) for name in names), ("train.yaml", key)]
        if self.choices.get("experiment"):
            files.insert(0, (f"experiment/{self.choices['experiment']}.yaml", key))
        for file, path in files:
            if path and _has(CONF / file, path):
                return f"(in conf/{file})"
        return "(in the config)"


def check_train(config: Config, origin: Origin) -> None:
    """Checks the config of train_segmentation.py.

    Args:
        config: resolved, in plain containers.
        origin: where its values come from.

    Raises:
        UserError: names the first mistake and where it is.
    """
    _check_missing(config)
    _check_keys(schema.Train, config, origin)
    groups = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "trainer", "logger")
    _check_groups(config, groups, origin)


def check_data(node: Config, origin: Origin) -> None:
    """Checks the node `data`: the arguments of the data set, and the loader's keys; errors as `check_train`."""
    own = {key: value for key, value in node.items() if key not in LOADER_KEYS}
    _check_target(own, "data", SUPPLIED["data"] | set(LOADER_KEYS), origin)
    check_loader(node, origin)


def pretrained_keys(target: str | None = None) -> set[str]:
    """The keys of the node `model` that `load_pretrained` takes, and the network `target` does not."""
    signatures = [signature_of(name) if name else None for name in (PRETRAINED, target)]
    loader, own = ({p.name for p in found.parameters} if found else set() for found in signatures)
    return loader - own - {"model", *SUPPLIED["model"]}


def check_model(node: Config, origin: Origin) -> None:
    """Checks the node `model`: the arguments of the network and of `load_pretrained`; errors as `check_train`."""
    try:
        keys = pretrained_keys(str(node["_target_"]))
    except UnknownTarget:  # explained below
        keys = set()
    own = {key: value for key, value in node.items() if key not in keys}
    _check_target(own, "model", SUPPLIED["model"] | keys, origin)
    pretrained = {key: value for key, value in node.items() if key in keys}
    _check_target({"_target_": PRETRAINED, **pretrained}, "model", {"model"} | SUPPLIED["model"], origin)


def check_loader(node: Config, origin: Origin) -> None:
    """Checks the keys of the node `data` that are not the data set's own; errors as `check_train`."""
    loader = {key: value for key, value in node.items() if key in LOADER_KEYS}
    _check_keys(schema.Loader, loader, origin, prefix="data.")


def check_infer(config: Config, origin: Origin) -> None:
    """Checks the config of infer.py; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.Infer, config, origin)
    if not config["input"]:
        raise UserError("input is missing; say input=<a photo, folder, pattern, list or video>")
    if config["overwrite"] and config["skip_existing"]:
        raise UserError("overwrite=true replaces what is there and skip_existing=true keeps it: leave one of them out")
    if config["checkpoint"] is None:
        missing = [key for key in ("model", "weights", "labels") if config.get(key) is None]
        if missing == ["model", "weights", "labels"]:
            raise UserError(
                "checkpoint is missing; say checkpoint=<a run folder or file>, or model=, weights=, labels="
            )
        if missing:
            raise UserError(f"{' and '.join(missing)} missing: weights without a checkpoint need model= and labels=")
        check_model(config["model"], origin)
    elif config.get("model") or config["weights"] or config["labels"]:
        raise UserError("a checkpoint says all by itself: leave out model=, weights= and labels=, or the checkpoint")
    if config["window"] and config["image_size"]:
        raise UserError("image_size= is for photos that are resized; with window= they are not: leave one of them out")
    _check_overlap(config, origin)


def _check_overlap(config: Config, origin: Origin) -> None:
    if not config["window"] and "overlap" in origin.typed:
        raise UserError("overlap= is that of windows: say window=[512,512] too, or leave it out")


def check_evaluate(config: Config, origin: Origin) -> None:
    """Checks the config of evaluate.py; arguments and errors as `check_train`.

    `data` is checked later, when it is known what the checkpoint says.
    """
    _check_missing(config)
    _check_keys(schema.Evaluate, config, origin)
    _check_overlap(config, origin)


def check_check_data(config: Config, origin: Origin) -> None:
    """Checks the config of tools.check_data; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.CheckData, config, origin)
    if "_target_" not in (config.get("data") or {}):
        raise UserError(f"which data? Say data=<option>; available: {', '.join(options('data'))}")
    check_data(config["data"], origin)


def check_preview_augmentation(config: Config, origin: Origin) -> None:
    """Checks the config of tools.preview_augmentation; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.PreviewAugmentation, config, origin)
    check_data(config["data"], origin)
    _check_target(config["augmentation"], "augmentation", set(), origin)


def check_find_lr(config: Config, origin: Origin) -> None:
    """Checks the config of tools.find_lr; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.FindLr, config, origin)
    _check_groups(config, ("model", "data", "augmentation", "loss", "optimizer", "trainer"), origin)
    if config["min_lr"] >= config["max_lr"]:
        raise UserError(f"min_lr={config['min_lr']}: must be less than max_lr={config['max_lr']}")


def check_export(config: Config, origin: Origin) -> None:
    """Checks the config of tools.export; arguments and errors as `check_train`.

    `data` is checked later, when it is known what the checkpoint says.
    """
    _check_missing(config)
    _check_keys(schema.Export, config, origin)
    if config["quantize"] and config["format"] != "onnx":
        raise UserError(f"quantize={config['quantize']}: is for format=onnx, not {config['format']}")


def check_compare(config: Config, origin: Origin) -> None:
    """Checks the config of compare.py; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.Compare, config, origin)
    usual = {"sort": None, "group_by": None, "baseline": None, "format": "table", "report": None}
    others = [f"{key}={config[key]}" for key, value in usual.items() if config[key] != value]
    if config["watch"] and others:
        raise UserError(f"watch=true goes with runs= alone: leave out {' '.join(others)}")


def check_benchmark(config: Config, origin: Origin) -> None:
    """Checks the config of tools.benchmark; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.Benchmark, config, origin)
    idle = [key for key in TIMING_KEYS if key in origin.typed and not config["backends"]]
    if idle:
        raise UserError(f"{idle[0]}={_shown(config[idle[0]])}: is for timings; say backends=[eager] besides")
    if config["plot"] is not None and config["runs"] is None:
        raise UserError(f"plot={config['plot']}: draws the accuracy of runs; say runs=<a folder of runs> besides")
    absent = [package for package in EXPORT_PACKAGES if find_spec(package) is None]
    if "onnx" in config["backends"] and absent:
        raise UserError(
            f"backends=onnx: {' and '.join(absent)} not installed; say pip install -r requirements-export.txt"
        )


def check_classify(config: Config, origin: Origin) -> None:
    """Checks the config of tools.classify; arguments and errors as `check_train`."""
    _check_missing(config)
    _check_keys(schema.Classify, config, origin)
    name = config["classifier"]
    if name not in CLASSIFIERS:
        said = f"model={name}: there is no such classifier" if name else "which network? Say model=<name>"
        hint = did_you_mean(name or "", CLASSIFIERS)
        raise UserError(f"{said}{hint}\navailable: {', '.join(CLASSIFIERS)}")
    if config["weights"] is None:
        raise UserError(
            "weights is missing; say weights=imagenet, which downloads the published ones, or weights=<their file>\n"
            "the files: https://github.com/lukemelas/EfficientNet-PyTorch/releases/tag/1.0"
        )


def differences(before: Config, now: Config, may_change: Collection[str] = MAY_CHANGE) -> list[str]:
    """What a resumed run's config says otherwise than before, in words; keys that may change left out."""
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {_shown(old.get(key, 'not there'))} and is now {_shown(new.get(key, 'not there'))}"
        for key in dict.fromkeys([*old, *new])
        if key not in may_change
        and not key.startswith("logger.")
        and (key not in old or key not in new or new[key] != old[key])
    ]


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"a.b.c": value} of nested dictionaries and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if not items:
        return {prefix[:-1]: node}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= _flat(value, f"{prefix}{key}.")
    return flat


def _check_missing(config: Config) -> None:
    for key, value in _flat(config).items():
        if value == "???":
            raise UserError(f"{key} is missing; say {key}=<value>")


def _check_keys(keys: type[schema.Keys], values: Config, origin: Origin, prefix: str = "") -> None:
    try:
        keys.model_validate(values)
    except ValidationError as error:
        # What is unknown comes first: a misspelt key is also a missing one.
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    else:
        return
    path, known, value = _locate(errors[0]["loc"], keys, values)
    key = prefix + ".".join(path)
    kind = errors[0]["type"]
    if kind == "extra_forbidden":
        raise UserError(f"{key}: unknown key {origin.place(key)}{did_you_mean(path[-1], known)}")
    if kind == "missing":
        raise UserError(f"{key}: the key is missing {origin.place(key.rpartition('.')[0])}")
    same = [e["msg"] for e in errors if _locate(e["loc"], keys, values)[0] == path]
    wishes = " or ".join(
        dict.fromkeys(message.removeprefix("Input ").removeprefix("Value error, ") for message in same)
    )
    hint = ""
    if isinstance(value, bool):
        hint = " (YAML reads a bare off, no, on or yes as a truth value: quote it)"
    elif isinstance(value, int | float) and "valid string" in wishes:
        hint = f"; for a text of digits, say '{key}=\"{value}\"'"
    raise UserError(f"{key}={_shown(value)} {origin.place(key)}: {wishes}{hint}")


def _locate(location: tuple[int | str, ...], keys: type[schema.Keys], values: Any) -> tuple[list[str], list[str], Any]:
    """The path of a pydantic location without the names of union members, the keys known there, the value."""
    path: list[str] = []
    known = [field.alias or name for name, field in keys.model_fields.items()]
    for part in location:
        inside = part in values if isinstance(values, dict) else isinstance(values, list) and isinstance(part, int)
        if not inside:
            if isinstance(values, dict):  # a missing key
                path.append(str(part))
                values = None
            break
        field = keys.model_fields.get(str(part))
        values = values[part]
        path.append(str(part))
        if field and isinstance(values, dict) and isinstance(field.annotation, type):
            keys = field.annotation if issubclass(field.annotation, schema.Keys) else keys
            if len(path) < len(location):
                known = [field.alias or name for name, field in keys.model_fields.items()]
    return path, known, values


def _check_groups(config: Config, groups: tuple[str, ...], origin: Origin) -> None:
    """Checks the arguments of what each group names."""
    for group in groups:
        node = config[group]
        if "_target_" not in node:
            raise UserError(f"{group}: there is no _target_ {origin.place(group)}")
        if group == "data":
            check_data(node, origin)
        elif group == "model":
            check_model(node, origin)
        else:
            _check_target(node, group, SUPPLIED.get(group, set()), origin)


def _check_target(node: Config, path: str, known: set[str], origin: Origin) -> None:
    """Checks a node's arguments, and the nodes inside it, against the signature of its `_target_`.

    Args:
        known: arguments that need not be in the node; those of the program, or keys with another use.
    """
    target = node["_target_"]
    try:
        signature = signature_of(str(target))
    except UnknownTarget as error:
        hint = did_you_mean(str(target).rpartition(".")[2], names_in(str(target).rpartition(".")[0]))
        raise UserError(f"{path}._target_={target} {origin.place(f'{path}._target_')}: {error}{hint}") from error
    missing = [package for package in OPTIONAL.get(target, ()) if find_spec(package) is None]
    if missing:
        raise UserError(f"{path}: {target} needs {' and '.join(missing)}; say pip install -r requirements-loggers.txt")
    parameters = {p.name: p for p in signature.parameters} if signature else {}
    for name, value in node.items():
        key = f"{path}.{name}"
        if name not in ("_target_", "_partial_") and signature and not signature.open and name not in parameters:
            hint = did_you_mean(
                name, (parameters.keys() - SUPPLIED.get(path, set())) | (known - SUPPLIED.get(path, set()))
            )
            raise UserError(f"{key}: {target} takes no such argument {origin.place(key)}{hint}")
        for inner, child in enumerate(value) if isinstance(value, list) else [("", value)]:
            if isinstance(child, dict) and "_target_" in child:
                _check_target(child, f"{key}[{inner}]" if isinstance(value, list) else key, set(), origin)
        if name in parameters and not _holds_targets(value):
            wrong = wrong_value(parameters[name].annotation, value)
            if wrong:
                raise UserError(f"{key}={_shown(value)} {origin.place(key)}: {wrong}")
    for parameter in parameters.values():
        if parameter.required and parameter.name not in node and parameter.name not in known:
            raise UserError(f"{path}.{parameter.name}: {target} needs it {origin.place(path)}")


def _holds_targets(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return (isinstance(value, dict) and "_target_" in value) or any(_holds_targets(child) for child in children)


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _inherited(file: Path) -> list[str]:
    """The options of the same group that an option's `defaults` name."""
    node = yaml.safe_load(file.read_text()) if file.is_file() else None
    defaults = node.get("defaults", []) if isinstance(node, dict) else []
    return [name for name in defaults if isinstance(name, str) and name != "_self_"]


def _has(file: Path, path: str) -> bool:
    """Whether a YAML file has this key."""
    node = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    for part in path.partition("[")[0].split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True
