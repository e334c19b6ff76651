"""Read files of a run folder whose content may be damaged or hostile."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from utils.text import cleaned

LARGEST = 4_000_000  # bytes of a file; a config has about 5,000
NODES, DEEPEST = 20_000, 100  # nodes and depth of a config or summary; one has about 200 nodes
SHORT = 20_000  # characters; a shorter text cannot nest deeply enough to exhaust the parser's stack
BITS = 4096  # of an integer; Python refuses to print longer ones


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C loader is 10 times as fast
    """A YAML loader without merge keys (`<<`): a few lines of them can expand to gigabytes."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Return the text of a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: not UTF-8, larger than `largest` bytes, or not a regular file (reading a pipe could block).
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if found.st_size > largest:
        raise ValueError(f"{path} is too large")
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, with `cleaned` texts; errors as `read_text`, ValueError if it is invalid."""
    try:
        return _checked(json.loads(read_text(path)))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, with `cleaned` texts; errors as `read_text`, ValueError if it is invalid."""
    text = read_text(path)
    try:
        if len(text) > SHORT:
            _check_depth(text)
        return _checked(yaml.load(text, Loader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML") from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("nested too deeply")


def _checked(value: Any) -> Any:
    """Return a copy with cleaned texts.

    Raises:
        ValueError: nested too deeply, or too many nodes; a node that YAML aliases share counts each time.
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
        if isinstance(node, int) and node.bit_length() > BITS:
            raise ValueError("too large")
        return node

    return copy(value, 0)
