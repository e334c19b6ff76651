"""Encoders: networks that turn an image into feature maps at several strides.

Every encoder has `features(images)`, a list of maps from fine to coarse, and their `channels` and `strides`. A map of
stride s of an image of H x W is ceil(H / s) x ceil(W / s), for EfficientNets; some of timm's round down.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import round_repeats, url_map, url_map_advprop
from torch import Tensor, nn

from models.efficientnet_lite import MEAN as LITE_MEAN
from models.efficientnet_lite import SCALES, efficientnet_lite, packaged_weights
from models.efficientnet_lite import STD as LITE_STD
from models.layers import BatchNorm, as_in_efficientnet
from models.recomputation import recomputed
from models.same_padding import SameConv2d
from models.weights import load_encoder_weights, load_timm_encoder
from utils.errors import did_you_mean

EFFICIENTNETS = (*(f"efficientnet_b{i}" for i in range(8)), *SCALES)


class Encoder(nn.Module, ABC):
    """What encoders share: they can be frozen.

    Attributes:
        channels, strides: of each feature map.
        input_mean, input_std: RGB statistics, for values from 0 to 1, of the images that the loaded weights were
            trained with; None where there are no weights, or ImageNet's. `engine.normalization.normalization_of` reads
            them.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None
    frozen = False

    def freeze(self) -> None:
        """Ends all training: no gradients, and batch norms stay in eval mode."""
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps (N, channels[i], about H / strides[i], about W / strides[i])."""


class EfficientNetEncoder(Encoder):
    """EfficientNet B0 to B7 or Lite0 to Lite2 without its classifier, named as in `efficientnet-pytorch`.

    Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946.

    The published weights of B0 to B7 were trained with ImageNet's mean and standard deviation. Those of AdvProp (files
    named `adv-efficientnet-b0-b64d5a18.pth` and so on) want values from -1 to 1, those of Lite about the same.

    Args:
        name: `efficientnet_b0` to `efficientnet_b7`, or `efficientnet_lite0` to `efficientnet_lite2`.
        stages: which of the stages 1 to 7 give the feature maps.
        head: the 1x1 convolution after the last stage makes the coarsest map, in place of that stage.
        output_stride: 32, 16 or 8; where a stage would go beyond it, its convolutions dilate instead.
        weights: None for the published random initialisation; `imagenet`, downloaded once (Lite: from its installed
            package); or the path of a state dict with the names of `efficientnet-pytorch`.
        checkpointing: keep only what enters each block, and compute the block again for the backward pass.

    Raises:
        ValueError: there is no encoder of that name.
        UserError: the weights cannot be had, or do not fit.
    """

    def __init__(
        self,
        name: str = "efficientnet_b0",
        stages: tuple[int, ...] = (1, 2, 3, 5, 7),
        head: bool = False,
        output_stride: int = 32,
        weights: str | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if name not in EFFICIENTNETS:
            hint = did_you_mean(name, EFFICIENTNETS)
            raise ValueError(f"there is no encoder '{name}', only {', '.join(EFFICIENTNETS)}{hint}")
        if head and stages[-1] != 7:
            raise ValueError("the head takes the place of stage 7, which must be the last of `stages`")
        lite = name in SCALES
        if lite:
            net = efficientnet_lite(name)
        else:
            net = EfficientNet.from_name(name.replace("_", "-"), include_top=False, image_size=None)
            net.set_swish(memory_efficient=False)  # which neither compiles nor exports
        self.stages, self.head, self.checkpointing = stages, head, checkpointing
        self.activation: nn.Module = nn.ReLU6() if lite else nn.SiLU()
        self._conv_stem, self._bn0, self._blocks = net._conv_stem, net._bn0, net._blocks
        if head:
            self._conv_head, self._bn1 = net._conv_head, net._bn1
        repeats = [round_repeats(block.num_repeat, net._global_params) for block in net._blocks_args]
        ends = list(accumulate(repeats))
        self._stage_of = {end - 1: stage for stage, end in enumerate(ends, 1)}  # of the last block of each
        self.drop_rates = [net._global_params.drop_connect_rate * i / ends[-1] for i in range(ends[-1])]
        strides = _set_strides(self._blocks, output_stride)
        _replace_layers(self)
        last = [ends[stage - 1] - 1 for stage in stages]
        self.strides = tuple(strides[i] for i in last)
        self.channels = tuple(self._blocks[i]._block_args.output_filters for i in last)
        if head:
            self.channels = (*self.channels[:-1], net._conv_head.out_channels)
        as_in_efficientnet(self)
        if weights == "imagenet" and lite:
            weights = str(packaged_weights(name))
        if weights is not None:
            load_encoder_weights(self, weights, "" if lite else url_map[name.replace("_", "-")])
            self.set_input_statistics(name, weights)

    def set_input_statistics(self, name: str, weights: str) -> None:
        """Set `input_mean` and `input_std` to what these weights were trained with."""
        if name in SCALES:
            self.input_mean, self.input_std = LITE_MEAN, LITE_STD
        elif Path(weights).name == Path(url_map_advprop[name.replace("_", "-")]).name:
            self.input_mean = self.input_std = (0.5, 0.5, 0.5)

    def features(self, images: Tensor) -> list[Tensor]:
        x, maps = self.activation(self._bn0(self._conv_stem(images))), []
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        for i, (block, rate) in enumerate(zip(self._blocks, self.drop_rates, strict=True)):
            x = recomputed(block, x, rate) if again else block(x, rate)
            if self._stage_of.get(i) in self.stages:
                maps.append(x)
        if self.head:
            maps[-1] = self.activation(self._bn1(self._conv_head(x)))
        return maps


class TimmEncoder(Encoder):
    """Any encoder of `timm` that gives feature maps.

    Args:
        name: as timm has it: `xception65`, `resnet50`, `mobilenetv3_large_100` ...
        output_stride: of the coarsest map: 32, 16 or 8, where the encoder can.
        weights: None for a random initialisation, `imagenet` for timm's own, or the path of such a file.

    Raises:
        ValueError: timm has no such encoder, or it cannot have that output stride.
        UserError: the weights cannot be had, or do not fit.
    """

    def __init__(self, name: str, output_stride: int = 32, weights: str | None = None) -> None:
        super().__init__()
        net: Any = load_timm_encoder(name, output_stride, weights)
        self.net = net
        if weights is not None:
            self.input_mean, self.input_std = tuple(net.pretrained_cfg["mean"]), tuple(net.pretrained_cfg["std"])
        self.channels, self.strides = tuple(net.feature_info.channels()), tuple(net.feature_info.reduction())

    def features(self, images: Tensor) -> list[Tensor]:
        return self.net(images)


def build_encoder(name: str, output_stride: int = 32, weights: str | None = None) -> Encoder:
    """An EfficientNet by its name here, any other network by timm's."""
    if name in EFFICIENTNETS:
        return EfficientNetEncoder(name, output_stride=output_stride, weights=weights)
    return TimmEncoder(name, output_stride, weights)


def _set_strides(blocks: Any, output_stride: int) -> list[int]:
    """Turns strides beyond `output_stride` into dilation; returns the stride after each block.

    A block whose stride is taken away keeps its dilation: it still sees the places that it would have seen.
    """
    stride, dilation, strides = 2, 1, []
    for block in blocks:
        conv, step = block._depthwise_conv, block._depthwise_conv.stride[0]
        conv.dilation = (dilation, dilation)
        if stride * step > output_stride:
            conv.stride = (1, 1)
            dilation *= step
        else:
            stride *= step
        strides.append(stride)
    return strides


def _replace_layers(module: nn.Module) -> None:
    """Plain convolutions where no padding depends on the size of the image, and batch norms that take one value."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            kind = nn.Conv2d if child.stride[0] == 1 else SameConv2d
            size, dilation = child.kernel_size[0], child.dilation[0]
            conv = kind(
                child.in_channels,
                child.out_channels,
                size,
                stride=child.stride[0],
                padding=dilation * (size // 2) if kind is nn.Conv2d else 0,
                dilation=dilation,
                groups=child.groups,
                bias=child.bias is not None,
            )
            setattr(module, name, conv)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, BatchNorm(child.num_features, child.eps, child.momentum))
        else:
            _replace_layers(child)
