"""A config as one level of names and plain values, which is what services compare runs by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Plain = float | int | str | bool
NOT_VARIED = ("name", "notes", "resume", "logger")


def hyperparameters(config: dict[str, Any], options: Mapping[str, str | None]) -> dict[str, Plain]:
    """{"model": "enet", "model.dropout": 0.1, ...}: the chosen options, and the config's values below them.

    Lists become text; what is null, a `_target_`, or a list of nodes is left out.
    """
    chosen = {group: option for group, option in options.items() if option is not None}
    return chosen | _flat({key: value for key, value in config.items() if key not in NOT_VARIED})


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Plain]:
    flat: dict[str, Plain] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            if not any(isinstance(item, dict | list) for item in value):
                flat[f"{prefix}{key}"] = str(value)
        elif value is not None and key not in ("_target_", "_partial_"):
            flat[f"{prefix}{key}"] = value
    return flat
