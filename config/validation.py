"""Check keys against a schema, and the arguments of a `_target_` against its signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from config.schema import TYPED_AS, Loader, ParameterGroups, Teacher
from engine.options import TrainerOptions
from utils.config_groups import CONF, files_of, read_conf
from utils.config_values import flattened
from utils.errors import UserError, did_you_mean
from utils.signatures import UnknownTarget, names_in, signature_of
from utils.text import plural, shown
from utils.value_types import remedy, requirement, wrong_value

GROUPS = ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "distill", "trainer", "logger")
SUPPLIED = {
    "model": {"num_classes", "in_channels"},
    "data": {"split"},
    "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps", "steps_per_epoch"},
    "logger": {"folder", "first_step"},
}
"""Arguments that the program passes itself to the `_target_` of a group."""
SHARED: dict[str, type[BaseModel]] = {
    "data": Loader,
    "optimizer": ParameterGroups,
    "distill": Teacher,
    "trainer": TrainerOptions,
}
"""Keys of a group that are the same for every `_target_`."""
LOADER_KEYS = tuple(Loader.model_fields)
OPTIMIZER_KEYS = tuple(ParameterGroups.model_fields)
DISTILL_KEYS = tuple(Teacher.model_fields)
USUAL_TEMPERATURE = 0.01  # as in conf/data/_loader.yaml
PRETRAINED = "models.weights.load_pretrained"
"""The function whose options are keys of `model`, except those that the network takes itself."""
OPTIONAL = {"utils.loggers.WandB": ("wandb",), "utils.loggers.MLflow": ("mlflow", "sqlalchemy", "alembic")}
"""Packages of requirements-loggers.txt that a `_target_` needs."""

SYNONYMS = {"learning_rate": "lr", "workers": "num_workers", "pretrained": "encoder_weights=imagenet"}
"""Names of keys in other programs -> the last part of ours, with a value where it needs one."""

Config = dict[str, Any]


class Origin(NamedTuple):
    """Where the values of a config come from.

    Attributes:
        choices: group -> chosen option.
        typed: keys set on the command line.
        typed_choices: groups whose option was chosen on the command line.
    """

    choices: Mapping[str, Any]
    typed: frozenset[str]
    typed_choices: frozenset[str] = frozenset()

    def place(self, key: str) -> str:
        """Return '(in conf/model/enet.yaml)' or '(on the command line)' for a key.

        Options in a folder of the user, of --config-dir, are named as they were chosen: '(in model=mine)'.
        """
        if any(key == typed or key.startswith((f"{typed}.", f"{typed}[")) for typed in self.typed):
            return "(on the command line)"
        group, _, inside = key.partition(".")
        files = [(file, inside) for file in files_of(group, str(self.choices.get(group)))]
        files.append((CONF / "train.yaml", key))
        if self.choices.get("experiment"):
            files.insert(0, (CONF / "experiment" / f"{self.choices['experiment']}.yaml", key))
        chosen = [(name, self.choices[name]) for name in ("experiment", group) if self.choices.get(name)]
        places = [f"{name}={option}" for name, option in chosen if not files_of(name, str(option))]
        places += [f"conf/{file.relative_to(CONF).as_posix()}" for file, path in files if _has_key(file, path)][:1]
        if places:
            return f"(in {' or '.join(places)})"
        below = any(typed.startswith(f"{key}.") for typed in self.typed)
        return "(on the command line)" if below else "(in the config)"

    def mistake(self, key: str, value: Any, reason: str) -> UserError:
        """Return the error about the value of a key, with the place that it comes from."""
        return UserError(f"{key}={shown(value)} {self.place(key)}: {reason}")


def _has_key(file: Path, path: str) -> bool:
    node: Any = read_conf(file)
    for part in path.partition("[")[0].split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def key_typed_for(key: str) -> str:
    """Return the key that users type for a key of the config: `model` for `models`."""
    name, dot, rest = key.partition(".")
    return f"{TYPED_AS.get(name, name)}{dot}{rest}"


def key_hint(key: str, siblings: Iterable[str], config: Config) -> str:
    """Return '; did you mean ...?' for an unknown key, or ''.

    Keys with the same last part come first (`optimizer.lr` for `lr`), then similar ones of the same node, then similar
    ones anywhere.

    Args:
        siblings: full names of the keys of the same node.
        config: the whole config.
    """
    siblings = list(siblings)
    shared = {"model": pretrained_keys(), "optimizer": OPTIMIZER_KEYS, "data": LOADER_KEYS}
    groups = {*config, *(["data"] if "split" in config else [])}  # evaluate.py takes the rest from the checkpoint
    full = [f"{group}.{name}" for group, names in shared.items() if group in groups for name in names]
    full = [name for name in [*siblings, *map(key_typed_for, flattened(config)), *full] if name != key]
    full = list(dict.fromkeys(full))
    lasts = [name.rpartition(".")[2] for name in full]
    wanted, equals, value = SYNONYMS.get(key.rpartition(".")[2], key.rpartition(".")[2]).partition("=")
    if wanted not in lasts:
        hint = did_you_mean(key, siblings)
        close = get_close_matches(wanted, lasts, n=1, cutoff=0.8)
        if hint or not close:
            return hint
        wanted = close[0]
    found = [f"'{name}{equals}{value}'" for name, last in zip(full, lasts, strict=True) if last == wanted]
    return f"; did you mean {' or '.join(found)}?"


def check_keys(schema: type[BaseModel], values: Config, origin: Origin, prefix: str = "") -> None:
    """Check that values have exactly the keys of a schema, and its types.

    Args:
        prefix: path of the values in the config, for messages: "data." or nothing.

    Raises:
        UserError: names the first mistake and where it is.
    """
    try:
        schema.model_validate(values)
    except ValidationError as error:
        # A misspelt key is also a missing one: report it as unknown.
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    else:
        return
    path, found = _locate(errors[0]["loc"], values)
    key, kind = prefix + ".".join(path), errors[0]["type"]
    name, place = key_typed_for(key), origin.place(key)
    if kind == "extra_forbidden":
        known = [prefix + key_typed_for(field) for field in schema.model_fields]
        hint = did_you_mean(name, known) if prefix else key_hint(name, known, values)
        raise UserError(f"{name}: unknown key {place}{hint}")
    if kind == "missing":
        if key in origin.typed:
            place = f"(removed on the command line; leave out ~{name})"
        raise UserError(f"{name}: the key is missing {place}")
    needed = requirement([e for e in errors if _locate(e["loc"], values)[0] == path])
    hint = remedy(name, found, needed, typed="command line" in place)
    raise UserError(f"{name}={shown(found)} {place}: {needed}{hint}")


def _locate(location: tuple[int | str, ...], values: Config) -> tuple[list[str], Any]:
    """Return the path of a pydantic location without the names of union members, and the value there."""
    path = [str(location[0])]
    value: Any = values.get(path[0])
    for part in location[1:]:
        if not (isinstance(value, list) and isinstance(part, int)):
            break
        value = value[part]
        path.append(str(part))
    return path, value


def pretrained_keys(target: str | None = None) -> set[str]:
    """Return the keys of `model` that go to `load_pretrained`, not to the network `target`."""
    signatures = [signature_of(name) if name else None for name in (PRETRAINED, target)]
    loader, own = (set(found.parameters if found else ()) for found in signatures)
    return loader - own - {"model", *SUPPLIED["model"]}


def check_group(group: str, node: Config, origin: Origin) -> None:
    """Check the node of a group: the arguments of its `_target_`, and the keys that every option of the group has.

    Raises:
        UserError: names the first mistake and where it is.
    """
    if "_target_" not in node:
        raise UserError(f"{group}: there is no _target_ {origin.place(group)}")
    shared = SHARED.get(group)
    keys = set(shared.model_fields) if shared else set()
    if group == "trainer":
        keys = node.keys() - {"_target_"}
    elif group == "model":
        try:
            keys = pretrained_keys(str(node["_target_"]))
        except UnknownTarget:  # reported by check_target
            keys = set()
    own = {key: value for key, value in node.items() if key not in keys}
    other = {key: value for key, value in node.items() if key in keys}
    if shared and all(name in node for name, field in shared.model_fields.items() if field.is_required()):
        check_keys(shared, other, origin, f"{group}.")  # first: arguments may refer to data.image_size
    check_target(own, group, SUPPLIED.get(group, set()) | keys, origin)
    if shared:
        check_keys(shared, other, origin, f"{group}.")
    if group == "data":
        _check_folds(other, origin)
        _check_normalization(other, node.get("channels", 3), origin)
        temperature = other["sampling_temperature"]
        if other["sampling"] == "uniform" and temperature != USUAL_TEMPERATURE:
            raise origin.mistake("data.sampling_temperature", temperature, "needs data.sampling=rare_class")
    if group == "model":
        check_target({"_target_": PRETRAINED, **other}, group, {"model"} | SUPPLIED[group], origin)
    rate = node.get("lr") if group == "optimizer" else None
    if isinstance(rate, int | float) and rate <= 0:  # optimizers accept 0
        raise origin.mistake("optimizer.lr", rate, "must be greater than 0")


def _check_folds(loader: Config, origin: Origin) -> None:
    folds, fold = loader["folds"], loader["fold"]
    for key in ("fold", "group_by", "fold_seed"):
        if folds is None and loader[key]:
            raise origin.mistake(f"data.{key}", loader[key], "needs data.folds=<number of folds>")
    if folds is not None and fold >= folds:
        raise origin.mistake("data.fold", fold, f"data.folds={folds} has folds 0 to {folds - 1}")


def _check_normalization(loader: Config, channels: int, origin: Origin) -> None:
    for key, partner in (("mean", "std"), ("std", "mean")):
        values = loader.get(key)
        if values is not None and (loader.get(partner) is None or len(values) != channels):
            each = f"{plural(channels, 'number')} each, one per channel, for values from 0 to 1"
            raise origin.mistake(f"data.{key}", values, f"pass data.mean and data.std with {each}")


def check_target(node: Config, path: str, known: set[str], origin: Origin) -> None:
    """Check a node's arguments, and the nodes inside it, against the signature of its `_target_`.

    Args:
        path: the node's key.
        known: names that are not required in the node: arguments that the program passes, and keys that it removes.

    Raises:
        UserError: names the first mistake and where it is.
    """
    target = str(node["_target_"])
    try:
        signature = signature_of(target)
    except UnknownTarget as error:
        module, _, name = target.rpartition(".")
        hint = did_you_mean(name, names_in(module))
        raise UserError(f"{path}._target_={target} {origin.place(f'{path}._target_')}: {error}{hint}") from error
    missing = [package for package in OPTIONAL.get(target, ()) if find_spec(package) is None]
    if missing:
        raise UserError(f"{path}: {target} needs {' and '.join(missing)}; pip install -r requirements-loggers.txt")
    parameters = signature.parameters if signature else {}
    supplied = SUPPLIED.get(path, set())
    for name, value in node.items():
        key = f"{path}.{name}"
        if name in supplied:
            raise UserError(f"{key}: the program sets it {origin.place(key)}; leave it out")
        if name not in ("_target_", "_partial_") and signature and not signature.open and name not in parameters:
            hint = did_you_mean(key, [f"{path}.{other}" for other in (parameters.keys() | known) - supplied])
            raise UserError(f"{key}: {target} takes no such argument {origin.place(key)}{hint}")
        children = list(_nodes(value, key))
        for inner, child in children:
            check_target(child, inner, set(), origin)
        if name in parameters and not children:
            wrong = wrong_value(parameters[name].annotation, value)
            if wrong:
                raise origin.mistake(key, value, wrong)
    for name, parameter in parameters.items():
        if parameter.required and name not in node and name not in known:
            raise UserError(f"{path}.{name}: {target} needs it {origin.place(path)}")


def _nodes(value: Any, key: str) -> Iterator[tuple[str, Config]]:
    """Yield the outermost nodes with a `_target_` in a value, with their keys."""
    if isinstance(value, dict) and "_target_" in value:
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _nodes(item, f"{key}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes(item, f"{key}[{index}]")
