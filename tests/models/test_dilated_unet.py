from typing import Any

import torch
from torch import nn

from models.dilated_unet import SubModel
from tests.models.tester import ModelTester, noise


class TestDilatedUNet(ModelTester):
    name = "dilated_unet"
    num_classes = 20


def test_a_sub_model_sees_at_three_distances() -> None:
    """A pixel's own neighbours, and those at 2 and 3 pixels: nothing else."""
    model = SubModel(4, 9).eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1)  # nothing cancels, and ReLU passes everything
    image = noise(1, 4, 15, 15).abs().requires_grad_()
    model(image)[0, :, 7, 7].sum().backward()
    assert image.grad is not None
    seen = {(y - 7, x - 7) for y, x in (image.grad[0].abs().sum(0) > 0).nonzero().tolist()}
    assert seen == {(dy * d, dx * d) for d in (1, 2, 3) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}


def test_a_third_of_the_channels_from_each_dilation() -> None:
    model: Any = SubModel(4, 9)
    dilations = [conv.dilation[0] for branch in model.branches for conv in branch if conv.groups > 1]
    assert dilations == [1, 2, 3]
    model.eval()
    with torch.inference_mode():
        found, silent = model(noise(1, 4, 8, 8)), []
        for i in range(3):
            nn.init.zeros_(model.branches[i][1].weight)
            silent.append(model(noise(1, 4, 8, 8)))
    assert [(found != x).any((0, 2, 3)).tolist() for x in silent] == [
        [True] * third + [False] * (9 - third) for third in (3, 6, 9)
    ]
