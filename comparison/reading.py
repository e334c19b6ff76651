"""Files of a run folder, read so that nothing in them stops a comparison, or does something to the terminal."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from utils.text import cleaned

LARGEST = 4_000_000  # bytes of a file; a config has some five thousand
NODES, DEEPEST = 20_000, 100  # of a config or summary; one has some two hundred
SHORT = 20_000  # characters of a text that cannot nest deeply enough to exhaust the parser's stack
BITS = 4096  # of a whole number


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one is ten times as fast
    """Takes no merge keys (`<<`), of which a few lines can make gigabytes."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The text of a plain file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no UTF-8, larger than `largest` bytes, or something that could be waited for for ever.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no plain file")
    if found.st_size > largest:
        raise ValueError(f"{path} is too large")
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file holds, with its texts `cleaned`; errors as `read_text`, also for what is no JSON."""
    try:
        return _checked(json.loads(read_text(path)))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, with its texts `cleaned`; errors as `read_text`, also for what is no YAML."""
    text = read_text(path)
    try:
        if len(text) > SHORT:
            _check_depth(text)
        return _checked(yaml.load(text, Loader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML") from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("nested too deeply")


def _checked(value: Any) -> Any:
    """A copy with its texts cleaned.

    Raises:
        ValueError: it is nested too deeply, or has too many nodes, those that YAML shares counted each time.
    """
    left = NODES

    def copy(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise ValueError("too large")
        if isinstance(node, str):
            return cleaned(node)
        if isinstance(node, dict):
            return {cleaned(key) if isinstance(key, str) else key: copy(item, depth + 1) for key, item in node.items()}
        if isinstance(node, list | tuple):
            return [copy(item, depth + 1) for item in node]
        if isinstance(node, int) and node.bit_length() > BITS:  # Python would not print it
            raise ValueError("too large")
        return node

    return copy(value, 0)
