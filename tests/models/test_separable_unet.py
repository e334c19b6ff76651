from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.separable_unet import SeparableUNet
from tests.models.tester import SLOW_FOR_VARIANTS, ModelTester, build, noise, settled


class TestSeparableUNet(ModelTester):
    name = "separable_unet"
    parameters = (336_000, 356_000)


class TestSeparableUNetNearest(ModelTester):
    name = "separable_unet"
    parameters = (336_000, 356_000)
    slow = SLOW_FOR_VARIANTS

    def build(self) -> Any:
        return build(self.name, self.num_classes, interpolation="nearest")

    def test_each_upsampling_repeats_rows_and_columns(self) -> None:
        model = settled(self.build())
        steps: list[tuple[torch.Tensor, torch.Tensor]] = []
        for up in model.ups:
            below: list[torch.Tensor] = []
            up.register_forward_pre_hook(lambda module, inputs, below=below: below.append(inputs[0]))
            up.narrow.register_forward_pre_hook(
                lambda module, inputs, below=below: steps.append((below.pop(), inputs[0]))
            )
        with torch.inference_mode():
            model(noise(1, 3, 64, 96))
        assert [tuple(after.shape[1:]) for _, after in steps] == [
            (256, 8, 12),
            (128, 16, 24),
            (64, 32, 48),
            (32, 64, 96),
        ]
        for before, after in steps:
            assert np.array_equal(after, before.numpy().repeat(2, 2).repeat(2, 3))


def test_an_interpolation_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="interpolation=cubic: must be bilinear or nearest"):
        SeparableUNet(19, interpolation="cubic")  # type: ignore[arg-type]
