import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.tester import SLOW, ModelTester, build, noise, settled


class TestBayesianSegNet(ModelTester):
    name = "bayesian_segnet"
    parameters = (29_106_000, 29_694_000)
    slow = SLOW | {"test_traced_gives_the_same", "test_bf16_autocast", "test_state_dict_round_trip"}

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
