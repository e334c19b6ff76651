"""Words of messages, and text from files made safe to print."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

# Characters that a terminal interprets, and those that cannot be encoded.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

SPECIAL = re.compile(r"""^[\s'"]|,|[\s'"]$""")
"""What a list on the command line would lose of an item without quotes."""


def decoded(content: bytes, errors: Literal["strict", "surrogateescape"] = "strict") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, as Windows writes it.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", errors)


def is_utf_8(text: str) -> bool:
    """Whether a text can be encoded: it holds no bytes of a path that were not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def cleaned(text: str) -> str:
    r"""Escape control characters as in `\x1b`, except line feeds."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""Escape control characters, and line feeds as `\n`."""
    return cleaned(text).replace("\n", r"\n")


def shown(value: object, longest: int = 60) -> str:
    """Return a value as text for a message: as in YAML, short, and without characters that a terminal acts on."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    return one_line(text if len(text) <= longest else text[:longest] + "...")


def plural(count: int, noun: str, several: str | None = None) -> str:
    """Return `1 run` or `2 runs`.

    Args:
        several: the plural of a noun that takes more than an `s`.
    """
    return f"{count} {noun if count == 1 else several or f'{noun}s'}"


def enumeration(items: Sequence[object], most: int) -> str:
    """Return items with commas between them, as `a, b and 3 more` if there are more than `most`."""
    first = ", ".join(str(item) for item in items[:most])
    return f"{first} and {len(items) - most} more" if len(items) > most else first


def list_of(items: Sequence[str]) -> str:
    """Return paths as a list on the command line, `[a,b]`, with quotes around those that need them."""
    return f"[{','.join(_between_quotes(item) if SPECIAL.search(item) else item for item in items)}]"


def _between_quotes(text: str) -> str:
    mark = '"' if "'" in text else "'"
    return f"{mark}{text}{mark}"
