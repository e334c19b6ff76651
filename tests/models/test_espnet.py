from typing import Any

import numpy as np
import pytest
import torch

from models.espnet import BINS, ESPNet
from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester, build, noise, settled


class TestESPNetS0(ModelTester):
    name = "espnet_s0"
    memorising_scale, memorising_steps = 8, 400  # its finest features are of stride 32
    num_classes = 20
    parameters = (4_583_700, 4_676_300)
    macs = {(512, 512): 3.67e9}
    slow = SLOW_FOR_VARIANTS


class TestESPNetS1(ModelTester):
    name = "espnet_s1"
    memorising_scale, memorising_steps = 8, 400  # its finest features are of stride 32
    num_classes = 20
    parameters = (7_058_700, 7_201_300)
    macs = {(512, 512): 4.63e9}
    slow = SLOW_FOR_VARIANTS


class TestESPNetS2(ModelTester):
    name = "espnet_s2"
    memorising_scale, memorising_steps = 8, 400  # its finest features are of stride 32
    num_classes = 20
    parameters = (8_246_700, 8_413_300)
    macs = {(512, 512): 5.15e9}
    slow = SLOW_FOR_VARIANTS


class TestESPNet(ModelTester):
    name = "espnet"
    memorising_scale = 4
    parameters = (4_603_500, 4_696_500)
    macs = {(512, 512): 4.01e9}
    slow = SLOW

    def test_it_depends_on_the_skip_of_stage_2(self) -> None:
        """Silencing the pyramid leaves logits that the features of stride 4 still change, place by place."""
        model = settled(build("espnet"))
        torch.nn.init.zeros_(model.fusion.pointwise.weight)
        with torch.inference_mode():
            logits = model(noise(1, 3, 64, 64))
            other = model(noise(1, 3, 64, 64, seed=1))
        assert (logits - other).abs().max() > 1e-3 * logits.abs().max()
        assert logits.std((2, 3)).min() > 0
        # and nothing is left once the skip is silenced too
        torch.nn.init.zeros_(model.fusion.skip.weight)
        with torch.inference_mode():
            assert torch.equal(model(noise(1, 3, 64, 64)), model(noise(1, 3, 64, 64, seed=1)))

    def test_the_skip_is_the_output_of_stage_2(self) -> None:
        """24 channels at a quarter of the size, from the last block before the next halving."""
        model, seen = build("espnet").eval(), dict[str, torch.Tensor]()
        model.encoder._blocks[2].register_forward_hook(lambda module, inputs, output: seen.update(stage=output))
        model.fusion.skip.register_forward_hook(lambda module, inputs, output: seen.update(skip=inputs[0]))
        with torch.inference_mode():
            model(noise(1, 3, 97, 131))
        assert seen["skip"].shape == (1, 24, 25, 33)
        assert torch.equal(seen["skip"], seen["stage"])


class TestESPNetNearest(ModelTester):
    """As the authors' code upsamples."""

    name = "espnet"
    memorising_scale = 4
    slow = SLOW_FOR_VARIANTS

    def build(self) -> Any:
        return build(self.name, self.num_classes, interpolation="nearest")

    def test_each_upsampling_repeats_rows_and_columns(self) -> None:
        """From the bins to 1/32, from there to 1/4, and from there to the image of 192x384."""
        model, seen = settled(self.build()), dict[Any, torch.Tensor]()
        for name, part in (("pyramid", model.pyramid), ("classifier", model.classifier)):
            part.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
        for bins, part in zip(BINS, model.pyramid.branches, strict=True):
            part.register_forward_hook(lambda module, inputs, output, bins=bins: seen.update({bins: output}))
        model.fusion.register_forward_hook(lambda module, inputs, output: seen.update(fused=inputs[0]))
        with torch.inference_mode():
            logits = model(noise(1, 3, 192, 384))
        parts = seen["pyramid"][:, 320:].split(80, 1)
        for bins, part in zip(BINS, parts, strict=True):
            assert np.array_equal(part, repeated(seen[bins], 6 // bins, 12 // bins))
        assert np.array_equal(seen["fused"], repeated(seen["pyramid"], 8, 8))
        assert np.array_equal(logits, repeated(seen["classifier"], 4, 4))


def repeated(x: torch.Tensor, rows: int, columns: int) -> np.ndarray:
    return x.numpy().repeat(rows, 2).repeat(columns, 3)


def test_an_interpolation_that_does_not_exist() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="interpolation=cubic: must be bilinear or nearest"):
        ESPNet(19, interpolation="cubic")  # type: ignore[arg-type]
