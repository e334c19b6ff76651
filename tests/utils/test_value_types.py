"""The options of a key are defined once; the configs' comments and help must list them all."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from utils.config_groups import CONF
from utils.value_types import Backend, Device, ExportFormat, PictureFormat, TableFormat, View


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
