"""What the config of a run folder may name: it may come from anywhere, and is about to be built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError
from utils.groups import CONF
from utils.schema import Train

OF_LIBRARIES = re.compile(r"(albumentations|torch\.optim)\.[A-Z][A-Za-z0-9]*")  # classes; there is albumentations.save


def check_trusted(run: Path, typed: Sequence[str]) -> None:
    """Refuses the config.yaml of a run that names more than `conf/` does, before anything of it is built.

    Args:
        typed: the words of the command line, which may name anything: the user says so.

    Raises:
        UserError: names what is not trusted.
    """
    text = (run / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    if not isinstance(config, dict):
        raise UserError(f"{run / 'config.yaml'}: not the config of a run")
    if "${" in text:  # a run writes what it was resolved to
        raise UserError(f"{run / 'config.yaml'}: not as a run writes it: there is a ${{...}} to be resolved")
    for key in config:
        if key not in Train.model_fields:  # above all `hydra` and `defaults`, which Hydra would obey
            raise UserError(f"{run / 'config.yaml'}: the key '{key}' has no place in the config of a run")
    for key, target in _targets(config):
        if target not in _of_conf() and not OF_LIBRARIES.fullmatch(target):
            needed = f"{key}={target}"
            if needed not in [word.lstrip("+") for word in typed]:
                raise UserError(
                    f"{run / 'config.yaml'} would run {target}, which conf/ does not name;"
                    f" if you trust it, say {needed} beside resume="
                )


@cache
def _of_conf() -> frozenset[str]:
    """Every `_target_` in conf/."""
    nodes = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONF.rglob("*.yaml"))
    return frozenset(target for node in nodes for _, target in _targets(node))


def _targets(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The path and value of every `_target_` in nested dictionaries and lists."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        path = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            yield path, str(value)
        yield from _targets(value, path)
