"""Configs of run folders, sweep folders and checkpoints, which may come from anyone and must not run code.

They are read into plain values (`utils.safe_reading.read_yaml`). Every string is literal: it is escaped for OmegaConf
(`literal`), which then interpolates nothing. Every `_target_`, at any depth, must be on one allow-list
(`check_targets`, `trusted_class`): those in `conf/`, the optimizers of torch.optim and the transforms of
albumentations.
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

from utils.config_groups import CONF
from utils.config_values import mapped
from utils.errors import UserError
from utils.safe_reading import PlainLoader
from utils.text import one_line

BASES = {"torch.optim": ("Optimizer",), "albumentations": ("BasicTransform", "BaseCompose")}
"""Libraries on the allow-list, and the base classes of what may be built from them."""
_named: set[str] = set()
"""What the user's own config names in this process; see `trust`."""


def literal(value: Any) -> Any:
    """Copy plain values with every string escaped, so that OmegaConf interpolates nothing."""
    # Backslashes are special only directly before '${'.
    return mapped(value, lambda v: re.sub(r"(\\*)\$\{", r"\1\1\\${", v) if isinstance(v, str) else v)


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every `_target_` in nested dictionaries and lists."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        path = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            yield path, value
        yield from targets(value, path)


def check_targets(config: Any, source: str | Path, typed: Sequence[str] = (), beside: str = "") -> None:
    """Refuse a config with a `_target_` that is not on the allow-list.

    Args:
        config: plain values.
        source: where it comes from, for the message.
        typed: words of the command line, which may allow any target.
        beside: the option that the config comes from, for the message.

    Raises:
        UserError: names the first target that is not trusted.
    """
    allowed = {word.lstrip("+") for word in typed}
    for key, target in targets(config):
        if not is_trusted(target) and f"{key}={target}" not in allowed:
            word = one_line(f"{key}={target}")
            hint = f"; if you trust it, pass {word} beside {beside}" if beside else ""
            raise UserError(f"{source} would run {word}, which conf/ does not name{hint}")


def trust(target: str) -> None:
    """Add a `_target_` of the user's own config to the allow-list of this process."""
    _named.add(target)


def is_trusted(target: Any) -> bool:
    """Whether a `_target_` is on the allow-list. Imports only libraries, not the project."""
    return isinstance(target, str) and (target in _of_conf() | _named or _library_class(target) is not None)


def trusted_class(target: Any) -> Callable[..., Any] | None:
    """Return the class or function of a `_target_` on the allow-list; None for any other."""
    if not isinstance(target, str):
        return None
    return locate(target) if target in _of_conf() | _named else _library_class(target)


def locate(target: str) -> Callable[..., Any]:
    """Import the class or function of a `_target_` in the user's own config.

    Raises:
        UserError: it cannot be imported, or is not a class or function.
    """
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        raise UserError(f"_target_={target}: cannot be imported ({type(error).__name__}: {error})") from error
    if not callable(found):
        raise UserError(f"_target_={target}: not a class or function")
    return found


def _library_class(target: str) -> Callable[..., Any] | None:
    """Return a class of a library on the allow-list. Its bases decide, since modules export other objects too."""
    module, _, name = target.rpartition(".")
    if module not in BASES:
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # by default it asks the network for a newer version
    library = import_module(module)
    found = vars(library).get(name)
    bases = tuple(getattr(library, base) for base in BASES[module])
    return found if isinstance(found, type) and issubclass(found, bases) else None


@cache
def _of_conf() -> frozenset[str]:
    """Return every `_target_` in conf/ except those of Hydra's node."""
    files = [path for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts]
    named = [pair for path in files for pair in targets(yaml.load(path.read_text(encoding="utf-8"), PlainLoader))]
    return frozenset(target for key, target in named if not key.startswith("hydra."))
