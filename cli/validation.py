"""The parts of a check: where a value comes from, and what keys and the arguments of a `_target_` may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from cli import schema
from utils.errors import UserError, did_you_mean
from utils.flat import flattened
from utils.groups import CONF
from utils.signatures import UnknownTarget, names_in, signature_of
from utils.value_types import requirement, wrong_value

LOADER_KEYS = tuple(schema.Loader.model_fields)
GROUP_KEYS = tuple(schema.ParameterGroups.model_fields)
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
        below = any(typed.startswith(f"{key}.") for typed in self.typed)
        return "(on the command line)" if below else "(in the config)"


def check_missing(config: Config) -> None:
    for key, value in flattened(config).items():
        if value == "???" or (isinstance(value, list) and "???" in value):
            raise UserError(f"{key} is missing; say {key}=<value>")


def check_keys(keys: type[schema.Keys], values: Config, origin: Origin, prefix: str = "") -> None:
    try:
        keys.model_validate(values)
    except ValidationError as error:
        # What is unknown comes first: a misspelt key is also a missing one.
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    else:
        return
    located, known, value = _locate(errors[0]["loc"], keys, values)
    there = prefix + ".".join(located)
    key = prefix + ".".join([schema.TYPED_AS.get(located[0], located[0]), *located[1:]])
    place, kind = origin.place(there), errors[0]["type"]
    if kind == "extra_forbidden":
        raise UserError(f"{key}: unknown key {place}{did_you_mean(located[-1], known)}")
    if kind == "missing":
        removed = f"(removed on the command line; leave ~{key} out)" if there in origin.typed else ""
        raise UserError(f"{key}: the key is missing {removed or origin.place(there.rpartition('.')[0])}")
    wish = requirement([e for e in errors if _locate(e["loc"], keys, values)[0] == located])
    hint = ""
    if isinstance(value, bool) and ("'" in wish or "a string" in wish):
        hint = " (YAML reads a bare off, no, on or yes as a truth value: quote it)"
    elif isinstance(value, int | float) and "a string" in wish:
        hint = f"; for a text of digits, pass '{key}=\"{value}\"'"
    raise UserError(f"{key}={shown(value)} {place}: {wish}{hint}")


def _locate(location: tuple[int | str, ...], keys: type[schema.Keys], values: Any) -> tuple[list[str], list[str], Any]:
    """The path of a pydantic location without the names of union members, the keys known there, the value."""
    path: list[str] = []
    known = [schema.TYPED_AS.get(name, field.alias or name) for name, field in keys.model_fields.items()]
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


def check_data(node: Config, origin: Origin) -> None:
    """Checks the node `data`: the arguments of the data set, and the loader's keys; errors as `check_train`."""
    if all(name in node for name, field in schema.Loader.model_fields.items() if field.is_required()):
        check_loader(node, origin)  # before the data set's own options, which may refer to image_size
    own = {key: value for key, value in node.items() if key not in LOADER_KEYS}
    check_target(own, "data", SUPPLIED["data"] | set(LOADER_KEYS), origin)
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
    check_target(own, "model", SUPPLIED["model"] | keys, origin)
    pretrained = {key: value for key, value in node.items() if key in keys}
    check_target({"_target_": PRETRAINED, **pretrained}, "model", {"model"} | SUPPLIED["model"], origin)


def check_loader(node: Config, origin: Origin) -> None:
    """Checks the keys of the node `data` that are not the data set's own; errors as `check_train`."""
    loader = {key: value for key, value in node.items() if key in LOADER_KEYS}
    check_keys(schema.Loader, loader, origin, prefix="data.")
    _check_folds(loader, origin)


def _check_folds(loader: Config, origin: Origin) -> None:
    folds, fold, pattern = loader.get("folds"), loader.get("fold", 0), loader.get("group_by")
    if folds is None and (fold or pattern is not None):
        key, value = ("fold", fold) if fold else ("group_by", pattern)
        raise UserError(f"data.{key}={value} {origin.place(f'data.{key}')}: needs data.folds=<number of folds>")
    if folds is not None and fold >= folds:
        raise UserError(f"data.fold={fold} {origin.place('data.fold')}: data.folds={folds} has folds 0 to {folds - 1}")
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(
            f"data.group_by={pattern} {origin.place('data.group_by')}: not a regular expression ({error})"
        ) from error


def check_optimizer(node: Config, origin: Origin) -> None:
    """Check the node `optimizer`: the optimizer's arguments and the keys of its parameter groups."""
    own = {key: value for key, value in node.items() if key not in GROUP_KEYS}
    check_target(own, "optimizer", SUPPLIED["optimizer"] | set(GROUP_KEYS), origin)
    groups = {key: value for key, value in node.items() if key in GROUP_KEYS}
    check_keys(schema.ParameterGroups, groups, origin, prefix="optimizer.")


def check_groups(config: Config, groups: tuple[str, ...], origin: Origin) -> None:
    """Checks the arguments of what each group names."""
    for group in groups:
        node = config[group]
        if "_target_" not in node:
            raise UserError(f"{group}: there is no _target_ {origin.place(group)}")
        if group == "data":
            check_data(node, origin)
        elif group == "model":
            check_model(node, origin)
        elif group == "optimizer":
            check_optimizer(node, origin)
        else:
            check_target(node, group, SUPPLIED.get(group, set()), origin)


def check_target(node: Config, path: str, known: set[str], origin: Origin) -> None:
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
        if name in SUPPLIED.get(path, ()):
            raise UserError(f"{key}: the program sets it {origin.place(key)}; leave it out")
        if name not in ("_target_", "_partial_") and signature and not signature.open and name not in parameters:
            hint = did_you_mean(name, (parameters.keys() | known) - SUPPLIED.get(path, set()))
            raise UserError(f"{key}: {target} takes no such argument {origin.place(key)}{hint}")
        for inner, child in enumerate(value) if isinstance(value, list) else [("", value)]:
            if isinstance(child, dict) and "_target_" in child:
                check_target(child, f"{key}[{inner}]" if isinstance(value, list) else key, set(), origin)
        if name in parameters and not _holds_targets(value):
            wrong = wrong_value(parameters[name].annotation, value)
            if wrong:
                raise UserError(f"{key}={shown(value)} {origin.place(key)}: {wrong}")
    for parameter in parameters.values():
        if parameter.required and parameter.name not in node and parameter.name not in known:
            raise UserError(f"{path}.{parameter.name}: {target} needs it {origin.place(path)}")


def _holds_targets(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return (isinstance(value, dict) and "_target_" in value) or any(_holds_targets(child) for child in children)


def shown(value: Any) -> str:
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
