"""The groups of the config and their options, which are files of conf/."""

from __future__ import annotations

from pathlib import Path

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
