"""The hyperparameters of a run, by which tracking services compare runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.config_values import flattened

Plain = float | int | str | bool
NOT_VARIED = ("name", "notes", "resume", "logger")


def hyperparameters(config: dict[str, Any], options: Mapping[str, str | None]) -> dict[str, Plain]:
    """Return {"model": "enet", "model.dropout": 0.1, ...}: the chosen options, and the values of the config.

    Lists are converted to text. Nulls, `_target_` and lists of nodes are omitted.
    """
    found: dict[str, Plain] = {group: option for group, option in options.items() if option is not None}
    for key, value in flattened({key: value for key, value in config.items() if key not in NOT_VARIED}).items():
        parts = key.split(".")
        if value is None or isinstance(value, dict) or parts[-1] in ("_target_", "_partial_"):
            continue
        if not any(part.isdecimal() for part in parts):  # an index: part of a list of nodes
            found[key] = str(value) if isinstance(value, list) else value
    return found
