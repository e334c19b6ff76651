"""The groups of the config and their options, which are files of conf/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError, did_you_mean

CONF = Path(__file__).resolve().parent.parent / "conf"


def options(group: str) -> list[str]:
    """Return the names of a group's options, without files that only other options include (`_loader.yaml`)."""
    return sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))


def option(group: str, name: str) -> Path:
    """Return the file of a group's option.

    Raises:
        UserError: there is no such option.
    """
    names = options(group)
    if name not in names:
        hint = did_you_mean(name, names)
        raise UserError(f"{group}={name}: there is no such option{hint}\navailable: {', '.join(names)}")
    return CONF / group / f"{name}.yaml"


def files_of(group: str, name: str) -> list[Path]:
    """Return the file of a group's option, and then the files of the group that its `defaults` include.

    Options of plugins have no file in conf/.
    """
    file = CONF / group / f"{name}.yaml"
    if not file.is_file():
        return []
    included = [entry for entry in read_conf(file).get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return [file, *(path for entry in included for path in files_of(group, entry))]


def read_conf(file: Path) -> dict[str, Any]:
    """Read a YAML file of conf/; {} if there is none, or it holds no keys."""
    node = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return node if isinstance(node, dict) else {}
