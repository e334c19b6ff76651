"""Read single overrides, such as `seed=1,2`, as Hydra does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException


class Parsed(NamedTuple):
    """An override that Hydra accepts.

    Attributes:
        values: the value, or the values of a sweep except ranges of numbers, in plain containers.
    """

    override: Override
    values: list[Any]


def parsed(word: str) -> Parsed | None:
    """Parse a word of the command line; None for a flag, and for what Hydra refuses or reads into other objects."""
    try:
        override = OverridesParser.create().parse_override(word)
        return Parsed(override, list(_values(override._value)))
    except (HydraException, TypeError):
        return None


def key_of(word: str) -> str:
    """Return `trainer.epochs` for `++trainer.epochs=3`."""
    return word.partition("=")[0].lstrip("+~")


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, ChoiceSweep):
        yield from map(_plain, value.list)
    elif isinstance(value, Glob):
        yield from (*value.include, *value.exclude)
    elif not isinstance(value, RangeSweep | IntervalSweep):
        yield _plain(value)


def _plain(value: Any) -> Any:
    """Return a value in plain containers.

    Raises:
        TypeError: it has another type.
    """
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(type(value).__name__)
