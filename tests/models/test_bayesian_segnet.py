import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.bayesian_segnet import STAGES
from tests.models.tester import SLOW, SLOW_FOR_VARIANTS, ModelTester, build, noise, settled


class TestBayesianSegNet(ModelTester):
    name = "bayesian_segnet"
    parameters = (29_106_000, 29_694_000)
    slow = SLOW_FOR_VARIANTS


class TestNarrowBayesianSegNet(ModelTester):
    """With a quarter of the channels, and so a sixteenth of the multiply-adds."""

    name = "bayesian_segnet"
    slow = SLOW

    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stages = tuple(tuple(width // 4 for width in stage) for stage in STAGES)
        monkeypatch.setattr("models.bayesian_segnet.STAGES", stages)

    def test_decoder_unpools_where_the_encoder_pooled(self) -> None:
        """What enters each decoder block is 0 but for the places of the encoder's maxima."""
        model, entered, pooled = build(self.name).eval(), list[Tensor](), list[Tensor]()

        def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            entered.insert(0, inputs[0])

        def leave(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            pooled.append(output)

        for block in model.decoder:
            block.register_forward_pre_hook(enter)
        for block in model.encoder:
            block.register_forward_hook(leave)
        with torch.inference_mode():
            model(noise(1, 3, 97, 131))
        assert len(entered) == len(pooled) == 5
        for unpooled, x in zip(entered, pooled, strict=True):
            assert unpooled.shape == x.shape
            maxima = F.interpolate(F.max_pool2d(x, 2, ceil_mode=True), scale_factor=2)
            places = x == maxima[..., : x.shape[-2], : x.shape[-1]]
            assert (unpooled != 0).any()
            assert not unpooled[~places].any()

    def test_with_dropout_on_predictions_differ(self) -> None:
        model, images = settled(build(self.name), passes=2), noise(1, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(model(images), model(images))
            model.dropout.train()
            assert not torch.equal(model(images), model(images))
