import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from engine.options import TrainerOptions
from engine.trainer import Trainer

DEFAULT = Path(__file__).parent.parent.parent / "conf" / "trainer" / "default.yaml"


def test_the_yaml_file_has_every_option_with_its_default() -> None:
    values = yaml.safe_load(DEFAULT.read_text())
    target = values.pop("_target_")
    assert target == f"{Trainer.__module__}.{Trainer.__qualname__}"
    assert values == TrainerOptions(epochs=values["epochs"]).model_dump()
    assert list(values) == list(TrainerOptions.model_fields)  # in the same order
    comments = [line.partition("#")[2].strip() for line in DEFAULT.read_text().splitlines()[2:]]
    assert len(comments) == len(values) and all(comments)


@pytest.mark.parametrize("option", [{"epoch": 3}, {"epochs": 0}, {"ema_decay": 1.0}, {"grad_clip": -1.0}])
def test_unknown_options_and_values_out_of_range_are_refused(option: dict) -> None:
    with pytest.raises(ValidationError):
        Trainer(**{"epochs": 1, "device": "cpu", **option})


def test_the_options_are_known_without_torch() -> None:
    code = "import sys, engine.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=DEFAULT.parent.parent.parent).returncode == 0
