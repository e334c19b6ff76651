"""Read files that may come from anywhere, and check their values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from utils.errors import UserError
from utils.paths import refuse_special
from utils.text import decoded, shown
from utils.value_types import requirement

LARGEST = 64_000_000
"""Maximum size of a file in bytes."""
LARGEST_CONFIG = 1_000_000
"""Maximum size of a YAML file in bytes. A config has about 5,000."""
NODES, DEPTH = 20_000, 50
"""Maximum number and depth of plain values. A config has about 200, up to 5 deep."""
SHORT = 20_000
"""Characters that cannot nest deeply enough to exhaust the stack of the YAML parser."""
BITS = 4096
"""Maximum length of an integer. Python refuses to print longer ones."""
GZIP = b"\x1f\x8b"
FROM_A_COPY = "restore it from a copy"


class FileSchema(BaseModel):
    """Keys with their types. Other keys are allowed and not checked."""

    model_config = ConfigDict(strict=True, extra="allow", arbitrary_types_allowed=True)


def check_schema(kind: type[FileSchema], value: Any, place: object, remedy: str) -> None:
    """Check that a value matches a schema.

    Args:
        place: the file of the value, for the message.
        remedy: end of the message: what the user can do.

    Raises:
        UserError: names the first key that is wrong.
    """
    try:
        kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(shown(part, 40) for part in first["loc"])
        wish = "the key is missing" if first["type"] == "missing" else requirement([first])
        found = first["input"]
        if first["type"] != "missing":
            is_plain = found is None or isinstance(found, str | int | float)
            wish += f", not {shown(repr(found)) if is_plain else type(found).__name__}"
        raise UserError(f"{place}: {f'{key}: ' if key else ''}{wish}; {remedy}") from error


class PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C loader is 10 times as fast
    """A YAML loader without merge keys (`<<`), a few lines of which can expand to gigabytes."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def read_text(path: Path, remedy: str = FROM_A_COPY, largest: float = LARGEST) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        remedy: end of messages: what the user can do.
        largest: maximum size of the file in bytes.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        refuse_special(path)
        size = path.stat().st_size
        if size > largest:
            raise UserError(f"{path}: {size / 1e6:.0f} MB is too large for such a file; {remedy}")
        content = path.read_bytes()
        if content.startswith(GZIP):
            raise UserError(f"{path}: compressed (gzip); unpack it")
        return decoded(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except ValueError as error:  # such as UnicodeDecodeError
        raise UserError(f"{path}: not a text in UTF-8; {remedy}") from error


def read_json(path: Path, remedy: str = FROM_A_COPY, largest: float = LARGEST) -> Any:
    """Return the content of a JSON file. Arguments as for `read_text`.

    Raises:
        UserError: it cannot be read, or a line is not valid JSON.
    """
    text = read_text(path, remedy, largest)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}: " if text.strip() else "empty: "
        raise UserError(f"{path}: {where}not valid JSON ({error.msg}); {remedy}") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or levels
        raise UserError(f"{path}: not valid JSON: a number is too long or it is nested too deeply; {remedy}") from error


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file as plain values.

    Raises:
        UserError: it cannot be read, is not valid YAML, or holds other values.
    """
    text = read_text(path)
    if len(text) > LARGEST_CONFIG:
        raise UserError(f"{path}: not the config of a run: it is larger than {LARGEST_CONFIG:,} bytes")
    try:
        if len(text) > SHORT:
            _check_depth(text)
        return plain_copy(yaml.load(text, PlainLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML ({getattr(error, 'problem', None) or 'damaged'})") from error
    except (ValueError, TypeError, RecursionError) as error:  # also of dates, numbers and keys
        raise UserError(f"{path}: not the config of a run: {error}") from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, PlainLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError("it is too deeply nested")


def plain_copy(value: Any, spelled: Callable[[str], str] = str) -> Any:
    """Copy nested dictionaries and lists of strings, numbers, booleans and null.

    Args:
        spelled: applied to every string, such as `utils.text.cleaned`.

    Raises:
        ValueError: there are other values, too many, too deeply nested ones, or too long numbers. A node that YAML
            aliases share counts each time.
    """
    left = NODES

    def copy(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEPTH:
            raise ValueError("it is too large or too deeply nested")
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise ValueError("a key is not a string")
            return {spelled(key): copy(item, depth + 1) for key, item in node.items()}
        if isinstance(node, list):
            return [copy(item, depth + 1) for item in node]
        if type(node) is int and node.bit_length() > BITS:
            raise ValueError("a number is too long")
        if node is not None and type(node) not in (str, bool, int, float):
            raise ValueError(f"a value of type {type(node).__name__}")
        return spelled(node) if isinstance(node, str) else node

    return copy(value, 0)
