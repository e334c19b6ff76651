"""Nested values of configs: as lists, sizes and flat dictionaries, and copied with changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def listed(value: Any) -> list[Any]:
    """Return one value, or several, as a list; [] for None."""
    if value is None:
        return []
    return [value] if isinstance(value, str | int) else list(value)


def as_size(values: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of a config, where they are a list."""
    height, width = values
    return height, width


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Copy nested dictionaries and lists, with a function applied to everything else in them."""
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return [mapped(item, change) for item in value] if isinstance(value, list | tuple) else change(value)


def flattened(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return {"a.b.0.c": value} for nested dictionaries and lists of them. Lists of plain values are kept."""
    nested = isinstance(node, dict) or (isinstance(node, list) and any(isinstance(item, dict) for item in node))
    if not nested or not node:
        return {prefix[:-1]: node}
    flat: dict[str, Any] = {}
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        flat |= flattened(value, f"{prefix}{key}.")
    return flat
