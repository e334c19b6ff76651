"""Quote paths and free texts on the command line, so that Hydra takes them literally."""

from __future__ import annotations

import os
import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from utils.trusted import literal

PATH_KEYS = frozenset(
    {
        *("input", "output", "checkpoint", "resume", "sweep", "like", "run", "runs", "baseline"),
        *("report", "plot", "images"),
        *("weights", "labels", "data.root", "data.labels", "model.weights", "model.encoder_weights"),
        *("distill.teacher", "where"),
    }
)
"""Keys whose values are literal, including brackets, commas and quotes, which are special in Hydra's grammar."""

LISTS = frozenset({"checkpoint", "runs", "where"})
"""Of these keys, those that also take a list, `[a,b]`, of literal values without commas."""

FREE_TEXTS = frozenset({"name", "notes"})
"""Keys whose values are literal except for `${...}`, and for `choice(...)` in a sweep."""


def quote_texts(words: list[str], sweep: bool = False) -> list[str]:
    """Quote the values of path keys and free texts; `null` stays null.

    Args:
        sweep: whether the words start a sweep.
    """
    quoted = []
    for word in words:
        key, equals, value = word.partition("=")
        name = key.lstrip("+")
        if equals and is_list(name, value):
            word = f"{key}=[{','.join(quote(item) for item in items_of(value))}]"
        elif equals and name in PATH_KEYS and value != "null":
            word = f"{key}={quote(value)}"
        elif equals and name in FREE_TEXTS and value != "null" and not (sweep and value.startswith("choice(")):
            word = f"{key}={quote(value, interpolate=True)}"
        quoted.append(word)
    return quoted


def is_list(key: str, value: str) -> bool:
    """Whether the value of a path key is a list `[a,b]`, and not a file of that name."""
    return key in LISTS and value.startswith("[") and value.endswith("]") and not os.path.lexists(value)


def items_of(value: str) -> list[str]:
    """Return the items of a list `[a,b]` without spaces and quotes around them."""
    return [_item(item.strip()) for item in value[1:-1].split(",") if item.strip()]


def _item(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def quote(value: str, interpolate: bool = False) -> str:
    """Return a value as a quoted string of Hydra's grammar; with `interpolate`, OmegaConf resolves its `${...}`."""
    text = value if interpolate else literal(value)
    # In quotes, a backslash is special only before a quote, and so at the end.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def as_typed(word: str) -> str:
    """Return a word without the quotes around a path or free text."""
    key = word.partition("=")[0]
    name = key.lstrip("+")
    if name not in PATH_KEYS | FREE_TEXTS:
        return word
    try:
        value = OverridesParser.create().parse_override(word).value()
    except HydraException:
        return word
    if not isinstance(value, str):
        return word
    if name in PATH_KEYS:  # the opposite of `literal`
        value = re.sub(r"(\\*)\\\$\{", lambda found: found[1][::2] + "${", value)
    return f"{key}={value}"
