"""Configs from elsewhere: run folders, sweep folders and checkpoints may come from anyone, and must not run code.

Their configs are read into plain values (`read_plain`). Every string in them is literal: OmegaConf gets it escaped
(`literal`), so nothing is interpolated. A `_target_` in them, at any depth, must be on one allow-list
(`check_targets`, `trusted_class`): what `conf/` names, the optimizers of torch.optim, the transforms of albumentations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from utils.checked import read_text
from utils.errors import UserError
from utils.groups import CONF
from utils.text import one_line

LARGEST = 1_000_000
"""Bytes of a file. A config has about five thousand."""
NODES, DEPTH = 20_000, 50
"""Limits on the values of a config. A config has about two hundred, nested five deep."""
BASES = {"torch.optim": ("Optimizer",), "albumentations": ("BasicTransform", "BaseCompose")}
"""Libraries on the allow-list, and the base classes of what may be built from them."""


class _Loader(yaml.SafeLoader):
    """Reads no merge keys (`<<`): a few lines of them expand to gigabytes."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def read_plain(path: Path) -> Any:
    """Read a YAML file into plain values.

    Raises:
        UserError: the file cannot be read, is not valid YAML, or holds anything but plain values.
    """
    text = read_text(path, "restore it from a copy")
    if len(text) > LARGEST:
        raise UserError(f"{path}: not the config of a run: it is larger than {LARGEST:,} bytes")
    try:
        return plain_copy(yaml.load(text, _Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML ({getattr(error, 'problem', None) or 'damaged'})") from error
    except (ValueError, TypeError, RecursionError) as error:  # of dates, numbers and keys, too
        raise UserError(f"{path}: not the config of a run: {error}") from error


def plain_copy(value: Any, depth: int = 0, left: list[int] | None = None) -> Any:
    """Copy nested dictionaries and lists of strings, numbers, booleans and null.

    Raises:
        ValueError: there is anything else, too much, or too deeply nested.
    """
    left = [NODES] if left is None else left
    left[0] -= 1
    if left[0] < 0 or depth > DEPTH:
        raise ValueError("it is too large or too deeply nested")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key is not a string")
        return {key: plain_copy(item, depth + 1, left) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_copy(item, depth + 1, left) for item in value]
    if value is not None and type(value) not in (str, bool, int, float):
        raise ValueError(f"a value of type {type(value).__name__}")
    return value


def literal(value: Any) -> Any:
    """Copy plain values with every string escaped, so that OmegaConf interpolates nothing."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    # Backslashes are special only directly before '${'.
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every `_target_` in nested dictionaries and lists."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        path = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            yield path, value
        yield from targets(value, path)


def check_targets(config: Any, source: str | Path, typed: Sequence[str] = (), beside: str = "") -> None:
    """Refuse a config from elsewhere that names more than the allow-list.

    Args:
        config: plain values.
        source: where it comes from, for the message.
        typed: words of the command line. The user may name any target there.
        beside: the option that the words stand beside, for the message.

    Raises:
        UserError: names what is not trusted.
    """
    said = {word.lstrip("+") for word in typed}
    for key, target in targets(config):
        if not is_trusted(target) and f"{key}={target}" not in said:
            word = one_line(f"{key}={target}")
            way_out = f"; if you trust it, pass {word} beside {beside}" if beside else ""
            raise UserError(f"{source} would run {word}, which conf/ does not name{way_out}")


def is_trusted(target: Any) -> bool:
    """Whether a `_target_` is on the allow-list; of conf/, this imports nothing."""
    return isinstance(target, str) and (target in _of_conf() or _library_class(target) is not None)


def trusted_class(target: Any) -> Callable[..., Any] | None:
    """The class or function of a `_target_` on the allow-list; None for any other."""
    if not isinstance(target, str):
        return None
    return locate(target) if target in _of_conf() else _library_class(target)


def locate(target: str) -> Callable[..., Any]:
    """Import the class or function that a `_target_` of the user's own config names.

    Raises:
        UserError: it cannot be imported, or is no class or function.
    """
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a user's own module may fail in any way
        raise UserError(f"_target_={target}: cannot be imported ({type(error).__name__}: {error})") from error
    if not callable(found):
        raise UserError(f"_target_={target}: not a class or function")
    return found


def _library_class(target: str) -> Callable[..., Any] | None:
    """A class of a library on the allow-list. The object decides, not its name: modules export much else."""
    module, _, name = target.rpartition(".")
    if module not in BASES:
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for a newer version on the network
    library = import_module(module)
    found = vars(library).get(name)
    bases = tuple(getattr(library, base) for base in BASES[module])
    return found if isinstance(found, type) and issubclass(found, bases) else None


@cache
def _of_conf() -> frozenset[str]:
    """Every `_target_` in conf/, without those of Hydra's own node."""
    files = [path for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts]
    named = [pair for path in files for pair in targets(yaml.safe_load(path.read_text(encoding="utf-8")))]
    return frozenset(target for key, target in named if not key.startswith("hydra."))
