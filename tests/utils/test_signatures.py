import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from utils.signatures import UnknownTarget, names_in, signature_of
from utils.value_types import wrong_value

TARGETS = [
    "models.enet.ENet",
    "data.camvid.CamVid",
    "losses.combinations.ce_iou",
    "engine.schedules.poly",
    "torch.optim.AdamW",
    "torch.optim.SGD",
    "albumentations.RandomCrop",
    "albumentations.HorizontalFlip",
    "albumentations.ColorJitter",
]


@pytest.mark.parametrize("target", TARGETS)
def test_agrees_with_the_imported_signature(target: str) -> None:
    module, _, name = target.rpartition(".")
    expected = inspect.signature(getattr(import_module(module), name))
    found = signature_of(target)
    assert found is not None
    required = {name: parameter.default is parameter.empty for name, parameter in expected.parameters.items()}
    assert [(name, p.required) for name, p in found.parameters.items()] == list(required.items())


def test_imports_nothing_that_it_reads() -> None:
    code = "import sys; from utils.signatures import signature_of; signature_of('torch.optim.AdamW');" \
        " sys.exit('torch' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("target", ["ENet", "models.nothing.ENet", "models.enet.ENnet", "nothing.at.all"])
def test_names_that_name_nothing(target: str) -> None:
    with pytest.raises(UnknownTarget):
        signature_of(target)


def test_names_in_a_module() -> None:
    assert {"ENet", "Bottleneck"} <= set(names_in("models.enet"))


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        ("int", 3, True),
        ("int", "3", False),
        ("int", True, False),
        ("float", 3, True),
        ("float", "abc", False),
        ("bool", True, True),
        ("bool", 2, False),
        ("bool", "yes", False),
        ("str | None", None, True),
        ("float | Tensor", 0.1, True),
        ("float | Tensor", "abc", False),
        ("tuple[float, float]", [0.9, 0.99], True),
        ("tuple[float, float]", [0.9], False),
        ("Sequence[float] | None", [1, 2.5], True),
        ("Literal['a', 'b']", "c", False),
        ("SomethingElse", object(), True),  # unknown types cannot be judged
        (None, "anything", True),
    ],
)
def test_values_against_annotations(annotation: str | None, value: object, fits: bool) -> None:
    assert (wrong_value(annotation, value) is None) == fits
