import logging
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import engine.compiled
from engine.compiled import Compiled


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_it_computes_the_same_and_trains_the_same_weights() -> None:
    torch.manual_seed(0)
    model, images = Net(), torch.randn(1, 3, 8, 8)
    compiled = Compiled(model)
    torch.testing.assert_close(compiled(images), model(images))
    found = compiled(images)
    assert isinstance(found, Tensor)
    found.sum().backward()
    assert model.conv.weight.grad is not None and list(model.state_dict()) == ["conv.weight", "conv.bias"]


def test_what_cannot_be_compiled_is_computed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(model: nn.Module) -> Any:
        def call(images: Tensor) -> Tensor:
            calls.append(1)
            raise RuntimeError("\nno C++ compiler was found\nand more")

        return call

    monkeypatch.setattr(engine.compiled.torch, "compile", broken)
    model, images = Net(), torch.randn(1, 3, 8, 8)
    compiled = Compiled(model)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            torch.testing.assert_close(compiled(images), model(images), rtol=0, atol=0)
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "trainer.compile: falls back to eager mode: Net could not be compiled: no C++ compiler was found"
    ]
