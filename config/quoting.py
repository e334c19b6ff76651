"""Quote paths and free texts on the command line, so that Hydra takes them literally."""

from __future__ import annotations

import os
import re

from hydra.core.override_parser.types import Quote, QuotedString

from config.overrides import parsed
from utils.trusted import literal

PATH_KEYS = frozenset(
    {
        *("input", "output", "checkpoint", "resume", "sweep", "like", "run", "runs", "baseline"),
        *("report", "plot", "images", "root"),
        *("weights", "labels", "data.root", "data.labels", "model.weights", "model.encoder_weights"),
        *("distill.teacher", "where"),
    }
)
"""Keys whose values are literal, including brackets, commas and quotes, which are special in Hydra's grammar."""

LISTS = frozenset({"checkpoint", "runs", "where"})
"""Of these keys, those that also take a list of literal values, `[a,b]`; values with commas are in quotes."""

FREE_TEXTS = frozenset({"name", "notes"})
"""Keys whose values are literal except for `${...}`, and for `choice(...)` in a sweep."""


TEXTS = frozenset(
    {
        *("data.images", "data.masks", "data.mask_suffix", "masks", "mask_suffix"),
        *("split", "splits", "data.train_split", "data.val_split", "data.group_by"),
        *("trainer.monitor", "sort", "columns", "augmentation.classes", "models"),
        *("logger.project", "logger.entity", "logger.tags", "logger.experiment_name", "logger.tracking_uri"),
        *("hydra.sweeper.study_name", "hydra.sweeper.storage"),
    }
)
"""Other keys whose values are texts; a sweep may have several values, with commas between them."""

TEXT_LISTS = frozenset({"split", "splits", "columns", "augmentation.classes", "models", "logger.tags"})
"""Of these keys, those that also take a list, `[a,b]`."""

PART = re.compile(r"""\s*('[^']*'|"[^"]*"|(?:\[[^]]*]|\([^)]*\)|{[^}]*}|[^,])*?)\s*(?:,|$)""")
"""What is between two commas: in quotes, or with brackets, which may hold commas."""

ITEM = re.compile(r"""\s*('[^']*'|"[^"]*"|[^,]*?)\s*(?:,|$)""")
"""An item of a list of paths, up to the next comma: in quotes, or without a comma."""


def quote_texts(words: list[str], sweep: bool = False) -> list[str]:
    """Quote the values of paths and texts where Hydra would read another value; `null` stays null.

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
        elif equals and name in TEXTS:
            parts = _parts(value) if sweep or name in TEXT_LISTS else [value]
            word = f"{key}={','.join(_quoted_part(part, name in TEXT_LISTS, sweep) for part in parts)}"
        quoted.append(word)
    return quoted


def _parts(text: str) -> list[str]:
    parts = [found[1] for found in PART.finditer(text)]
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def _quoted_part(text: str, may_be_list: bool, sweep: bool) -> str:
    """Return one value of a text key, in quotes unless Hydra reads it as it is."""
    if may_be_list and text.startswith("[") and text.endswith("]"):
        return f"[{','.join(_quoted_part(item, False, False) for item in _parts(text[1:-1]))}]"
    found = parsed(f"key={text}")
    if found and (text == "null" or found.override.value() == text or (sweep and found.override.is_sweep_override())):
        return text
    return quote(_item(text), interpolate=True)


def is_list(key: str, value: str) -> bool:
    """Whether the value of a path key is a list `[a,b]`, and not a file of that name."""
    return key in LISTS and value.startswith("[") and value.endswith("]") and not os.path.lexists(value)


def items_of(value: str) -> list[str]:
    """Return the items of a list `[a,b]` without spaces and quotes around them: the opposite of `list_of`."""
    return [_item(found[1]) for found in ITEM.finditer(value[1:-1]) if found[1]]


def _item(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def quote(value: str, interpolate: bool = False) -> str:
    """Return a value as a quoted string of Hydra's grammar; with `interpolate`, OmegaConf resolves its `${...}`."""
    return QuotedString(value if interpolate else literal(value), Quote.single).with_quotes()


def as_typed(word: str) -> str:
    """Return a word without the quotes around a path or free text."""
    key = word.partition("=")[0]
    name = key.lstrip("+")
    if name not in PATH_KEYS | FREE_TEXTS | TEXTS:
        return word
    found = parsed(word)
    value = found.override.value() if found else None
    if found and name in TEXT_LISTS and isinstance(value, list) and not found.override.is_sweep_override():
        value = f"[{','.join(map(str, value))}]"
    if not isinstance(value, str):
        return word
    if name in PATH_KEYS:  # the opposite of `literal`
        value = re.sub(r"(\\*)\\\$\{", lambda found: found[1][::2] + "${", value)
    return f"{key}={value}"
