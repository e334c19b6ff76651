"""Read files that may come from anywhere, and check their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from utils.errors import UserError
from utils.paths import refuse_special
from utils.text import decoded, one_line
from utils.value_types import requirement

LARGEST = 64_000_000  # bytes of a text file


class FileSchema(BaseModel):
    """Keys with their types. Other keys are allowed and not checked."""

    model_config = ConfigDict(strict=True, extra="allow", arbitrary_types_allowed=True)


def check_schema(kind: type[FileSchema], value: Any, place: object, remedy: str) -> None:
    """Check that a value matches a schema.

    Args:
        place: the file of the value, for the message.
        remedy: what the user can do, at the end of the message.

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


def read_text(path: Path, remedy: str, largest: float = LARGEST) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        remedy: what the user can do, at the end of messages.
        largest: how many bytes the file may have.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        refuse_special(path)
        size = path.stat().st_size
        if size > largest:
            raise UserError(f"{path}: {size / 1e6:.0f} MB is too large for such a file; {remedy}")
        return decoded(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except ValueError as error:  # such as UnicodeDecodeError
        raise UserError(f"{path}: not a text in UTF-8; {remedy}") from error


def read_json(path: Path, remedy: str, largest: float = LARGEST) -> Any:
    """Return the content of a JSON file. Arguments as `read_text`.

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


def shown(value: object, longest: int = 60) -> str:
    """Return a value as text for a message: short, and without characters that a terminal acts on."""
    text = "null" if value is None else str(value)
    return one_line(text if len(text) <= longest else text[:longest] + "...")
