"""The options of a key are defined once; the configs' comments and help must list them all."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from utils.config_groups import CONF
from utils.value_types import Backend, Device, ExportFormat, PictureFormat, TableFormat, View, remedy


@pytest.mark.parametrize(
    ("config", "key", "options"),
    [
        ("infer", "format", PictureFormat),
        ("infer", "tta", View),
        ("infer", "device", Device),
        ("evaluate", "tta", View),
        ("evaluate", "device", Device),
        ("compare", "format", TableFormat),
        ("benchmark", "backends", Backend),
        ("export", "format", ExportFormat),
    ],
)
def test_configs_list_every_option_of_a_key(config: str, key: str, options: Any) -> None:
    lines = (CONF / f"{config}.yaml").read_text().splitlines()
    (comment,) = (line.partition("#")[2] for line in lines if line.startswith(f"{key}:"))
    assert [option for option in get_args(options) if option not in comment] == []


@pytest.mark.parametrize(
    ("value", "needed", "typed", "hint"),
    [
        (True, "must be a string", True, """; for this word, pass 'notes="true"'"""),
        (True, "must be a string", False, " (YAML reads a bare off, no, on or yes as a truth value: quote it)"),
        (["a", "b"], "must be a string", True, ", not a list"),
        (["a", "b"], "must be a string or null", False, ", not a list"),
        (2024, "must be a string", True, """; for a text of digits, pass 'notes="2024"'"""),
        ("cuda:1", "must be 'auto', 'cpu' or 'cuda'", True, "the environment variable CUDA_VISIBLE_DEVICES=1"),
        (2.5, "must be an integer", True, ""),
    ],
)
def test_what_to_do_about_a_wrong_value(value: object, needed: str, typed: bool, hint: str) -> None:
    found = remedy("notes", value, needed, typed)
    assert found.endswith(hint) and (hint != "" or found == "")
