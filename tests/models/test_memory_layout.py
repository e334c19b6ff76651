"""Networks in training keep one memory layout.

A convolution or batch norm whose input and gradient have different ones converts them, which took a quarter of the time
of ENet's step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses.combinations import ce_iou
from models.bayesian_segnet import BayesianSegNet
from models.deeplabv3plus import DeepLabV3Plus
from models.dilated_unet import DilatedUNet
from models.efficient_segnet import EfficientSegNet
from models.efficientdet_seg import EfficientDetSeg
from models.enet import ENet
from models.espnet import ESPNet
from models.fast_scnn import FastSCNN
from models.separable_unet import SeparableUNet
from models.unet import UNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "enet": lambda: ENet(5),
    "fast_scnn": lambda: FastSCNN(5, auxiliary=True),
    "espnet": lambda: ESPNet(5, fusion=True),
    "espnet lite": lambda: ESPNet(5, encoder="efficientnet_lite0"),
    "unet": lambda: UNet(5),
    "separable_unet": lambda: SeparableUNet(5),
    "dilated_unet": lambda: DilatedUNet(5),
    "bayesian_segnet": lambda: BayesianSegNet(5),
    "deeplabv3plus": lambda: DeepLabV3Plus(5, encoder="efficientnet_b0", separable=True),
    "efficient_segnet": lambda: EfficientSegNet(5),
    "efficientdet": lambda: EfficientDetSeg(5),
}


def by_pixels(x: Tensor) -> bool:
    """Whether the channels of a pixel are neighbours in memory, as in channels_last and slices of its channels."""
    return x.shape[1] == 1 or x.shape[2] * x.shape[3] == 1 or x.stride(1) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_and_gradients_have_one_layout(name: str) -> None:
    model = NETWORKS[name]().train().to(memory_format=torch.channels_last)
    found: list[tuple[str, str, bool]] = []

    def watch(layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            found.append((layer, "input", by_pixels(inputs[0])))
            output.register_hook(lambda gradient: found.append((layer, "gradient", by_pixels(gradient))))

        return hook

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.Conv2d | nn.ConvTranspose2d)}
    for layer, module in layers.items():
        module.register_forward_hook(watch(layer))
    side = 256 if name == "efficientdet" else 64  # even at all levels: cut-off rows are converted
    images = torch.randn(2, 3, side, side).contiguous(memory_format=torch.channels_last)
    outputs = model(images)
    loss, target = ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}), torch.randint(5, (2, side, side))
    torch.stack(
        [loss.totals(y, target).sum() for y in (outputs if isinstance(outputs, tuple) else (outputs,))]
    ).sum().backward()
    assert {layer for layer, _, _ in found} == set(layers)
    assert [(layer, of) for layer, of, same in found if not same] == []
