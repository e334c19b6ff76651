"""Explain the keys of the config that --help prints with the comments of their YAML files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from utils.config_groups import CONF, files_of, read_conf

COMMENTED = re.compile(r"(\w+):.*?\s#\s*(.+)")
KEY = re.compile(r"( {2})?(\w+):")
ONLY_INCLUDED = re.compile(r"\b_\w+, ")
"""Options that others include, such as data/_loader.yaml; they begin the list of their group."""
COLUMN = 36
"""Column of the comments, unless a line is longer."""


def explained(text: str, config_name: str, words: Sequence[str]) -> str:
    """Return a help text with a comment behind each key of the first two levels that has one, and without options that
    are only included.

    Args:
        text: as Hydra prints it; the keys begin after a line `The composed config...`.
        config_name: name of the file in conf/.
        words: words of the command line, which choose options of groups.
    """
    comments = comments_of(CONF / f"{config_name}.yaml")
    for group, option in chosen_options(config_name, words).items():
        for file in reversed(files_of(group, option)):
            comments |= {f"{group}.{name}": comment for name, comment in comments_of(file).items()}
    lines: list[str] = []
    group, is_config = "", False
    for line in text.split("\n"):
        is_config = is_config or line.startswith("The composed config")
        line = line if is_config else ONLY_INCLUDED.sub("", line)
        found = KEY.match(line) if is_config else None
        if found:
            group = group if found[1] else str(found[2])
            note = comments.get(f"{group}.{found[2]}" if found[1] else group)
            if note:
                line = f"{line:<{COLUMN}}  # {note}"
        lines.append(line)
    return "\n".join(lines)


def chosen_options(config_name: str, words: Sequence[str]) -> dict[str, str]:
    """Return the option of each group: from the words, or the default."""
    defaults = read_conf(CONF / f"{config_name}.yaml").get("defaults", [])
    chosen = {group: option for entry in defaults if isinstance(entry, dict) for group, option in entry.items()}
    chosen |= {group.lstrip("+"): option for group, _, option in (word.partition("=") for word in words)}
    return {group: str(option) for group, option in chosen.items() if (CONF / group / f"{option}.yaml").is_file()}


def comments_of(file: Path) -> dict[str, str]:
    """Return the comment behind each top-level key of a YAML file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for line in lines if (found := COMMENTED.match(line))}
