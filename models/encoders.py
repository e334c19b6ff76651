"""Encoders: networks that turn an image into feature maps at several strides.

Every encoder returns a list of maps from fine to coarse, and has their `channels` and `strides`. For an image of H x W,
a map of stride s is ceil(H / s) x ceil(W / s) for EfficientNets; some networks of timm round down.
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

from models.depthwise import DilatedDepthwise
from models.efficientnet_lite import MEAN as LITE_MEAN
from models.efficientnet_lite import SCALES, efficientnet_lite, packaged_weights
from models.efficientnet_lite import STD as LITE_STD
from models.layers import BatchNorm, as_in_efficientnet
from models.recomputation import recomputed
from models.same_padding import SameConv2d
from models.timm_networks import create_timm_network
from models.weight_files import download_state_dict, misfits, read_state_dict, with_input_channels
from utils.errors import UserError, did_you_mean

EFFICIENTNETS = (*(f"efficientnet_b{i}" for i in range(8)), *SCALES)


class Encoder(nn.Module, ABC):
    """Base class of encoders.

    Attributes:
        channels, strides: channels and stride of each feature map.
        input_mean, input_std: RGB statistics of the images that the loaded weights were trained with, for values from 0
            to 1; None without weights, or with ImageNet's statistics. Read by
            `engine.normalization.normalization_of`.
        frozen: whether `freeze` was called last.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None
    frozen = False

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) -> maps (N, channels[i], about H / strides[i], about W / strides[i])."""

    @abstractmethod
    def load_weights(self, weights: str) -> None:
        """Load pretrained weights, and set `input_mean` and `input_std`.

        Args:
            weights: `imagenet`, downloaded once; or the path of a state dict.

        Raises:
            UserError: the weights cannot be downloaded or read, or are of another encoder.
        """

    def freeze(self) -> None:
        """Stop training: no parameter requires gradients, and batch norms stay in eval mode."""
        self.frozen = True
        self.requires_grad_(False).eval()

    def unfreeze(self) -> None:
        """Train again, from the next call of `train` on."""
        self.frozen = False
        self.requires_grad_(True)

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)


class EfficientNetEncoder(Encoder):
    """EfficientNet B0 to B7 or Lite0 to Lite2 without its classifier. Names of weights as in `efficientnet-pytorch`.

    Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946.

    The published weights of B0 to B7 were trained with ImageNet's mean and standard deviation. Those of AdvProp (files
    named `adv-efficientnet-b0-b64d5a18.pth` and so on) expect values from -1 to 1, and those of Lite nearly the same.

    Args:
        name: `efficientnet_b0` to `efficientnet_b7`, or `efficientnet_lite0` to `efficientnet_lite2`.
        stages: stages, from 1 to 7, whose outputs are the feature maps.
        head: replace the output of stage 7 by the output of the 1x1 convolution after it.
        output_stride: 32, 16 or 8. Stages with a larger stride use dilated convolutions instead.
        checkpointing: store only the input of each block, and recompute the block in the backward pass.
        in_channels: number of channels of the images.

    Raises:
        ValueError: there is no encoder of that name.
    """

    def __init__(
        self,
        name: str = "efficientnet_b0",
        stages: tuple[int, ...] = (1, 2, 3, 5, 7),
        head: bool = False,
        output_stride: int = 32,
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if name not in EFFICIENTNETS:
            hint = did_you_mean(name, EFFICIENTNETS)
            raise ValueError(f"there is no encoder '{name}', only {', '.join(EFFICIENTNETS)}{hint}")
        if head and stages[-1] != 7:
            raise ValueError("head=True replaces stage 7, which must be the last of `stages`")
        self.name, lite = name, name in SCALES
        if lite:
            net = efficientnet_lite(name)
        else:
            net = EfficientNet.from_name(name.replace("_", "-"), include_top=False, image_size=None)
            net.set_swish(memory_efficient=False)  # the memory-efficient one can be neither compiled nor exported
        self.stages, self.head, self.checkpointing = stages, head, checkpointing
        self.activation: nn.Module = nn.ReLU6() if lite else nn.SiLU()
        self._conv_stem, self._bn0, self._blocks = net._conv_stem, net._bn0, net._blocks
        if head:
            self._conv_head, self._bn1 = net._conv_head, net._bn1
        repeats = [round_repeats(block.num_repeat, net._global_params) for block in net._blocks_args]
        ends = list(accumulate(repeats))
        self._stage_of = {end - 1: stage for stage, end in enumerate(ends, 1)}  # of each stage's last block
        self.drop_rates = [net._global_params.drop_connect_rate * i / ends[-1] for i in range(ends[-1])]
        if in_channels != 3:
            stem = self._conv_stem
            self._conv_stem = nn.Conv2d(in_channels, stem.out_channels, stem.kernel_size, stem.stride, bias=False)
        strides = _set_strides(self._blocks, output_stride)
        _replace_layers(self)
        last = [ends[stage - 1] - 1 for stage in stages]
        self.strides = tuple(strides[i] for i in last)
        self.channels = tuple(self._blocks[i]._block_args.output_filters for i in last)
        if head:
            self.channels = (*self.channels[:-1], net._conv_head.out_channels)
        as_in_efficientnet(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.activation(self._bn0(self._conv_stem(images))), []
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        for i, (block, rate) in enumerate(zip(self._blocks, self.drop_rates, strict=True)):
            x = recomputed(block, x, rate) if again else block(x, rate)
            if self._stage_of.get(i) in self.stages:
                maps.append(x)
        if self.head:
            maps[-1] = self.activation(self._bn1(self._conv_head(x)))
        return maps

    def load_weights(self, weights: str) -> None:
        state, own = self._read_weights(weights, "model.encoder_weights"), self.state_dict()
        head = ("_conv_head.", "_bn1.", "_fc.")  # the classifier's layers, which an encoder may lack
        state = {key: value for key, value in state.items() if key in own or not key.startswith(head)}
        state = with_input_channels(state, own)
        wrong = misfits(own, state)
        if wrong:
            raise UserError(f"model.encoder_weights={weights}: weights of another encoder: {wrong[0]}")
        self.load_state_dict(state, strict=False)

    def _read_weights(self, weights: str, key: str) -> dict[str, Tensor]:
        """Read a classifier's weights, and set `input_mean` and `input_std`; `key` is for messages."""
        published = self.name.replace("_", "-")
        if self.name in SCALES:
            self.input_mean, self.input_std = LITE_MEAN, LITE_STD
            if weights == "imagenet":
                weights = str(packaged_weights(self.name, key))
        elif Path(weights).name == Path(url_map_advprop[published]).name:
            self.input_mean = self.input_std = (0.5, 0.5, 0.5)
        return download_state_dict(url_map[published], key) if weights == "imagenet" else read_state_dict(weights)


class TimmEncoder(Encoder):
    """Any network of `timm` that returns feature maps.

    Args:
        name: as in timm: `xception65`, `resnet50`, `mobilenetv3_large_100` ...
        output_stride: stride of the coarsest map: 32, 16 or 8, if the network supports it.
        in_channels: number of channels of the images.

    Raises:
        ValueError: timm has no such network, or it does not support the output stride.
    """

    def __init__(self, name: str, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        self.name, self.output_stride, self.in_channels = name, output_stride, in_channels
        self.net = create_timm_network(name, output_stride, in_channels=in_channels)
        info: Any = self.net.feature_info
        self.channels, self.strides = tuple(info.channels()), tuple(info.reduction())

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.net(images)

    def load_weights(self, weights: str) -> None:
        with torch.random.fork_rng(devices=[]):  # timm initialises the network first
            self.net = create_timm_network(self.name, self.output_stride, weights, self.in_channels)
        config: Any = self.net.pretrained_cfg
        self.input_mean, self.input_std = tuple(config["mean"]), tuple(config["std"])


def build_encoder(name: str, output_stride: int = 32, in_channels: int = 3) -> Encoder:
    """Build an encoder by the name of an EfficientNet or of a network of timm."""
    if name in EFFICIENTNETS:
        return EfficientNetEncoder(name, output_stride=output_stride, in_channels=in_channels)
    return TimmEncoder(name, output_stride, in_channels)


def _set_strides(blocks: Any, output_stride: int) -> list[int]:
    """Replace strides beyond `output_stride` by dilation; return the stride after each block.

    A block that loses its stride keeps its own dilation, so that it covers the same pixels; later blocks are dilated.
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
    """Replace the library's convolutions and batch norms by ours.

    Convolutions of stride 1 need no padding that depends on the image size. Our batch norms accept a single value.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            channels, size, dilation = child.in_channels, child.kernel_size[0], child.dilation[0]
            has_bias, stays = child.bias is not None, child.stride[0] == 1
            if stays and dilation > 1 and child.groups == channels:
                conv: nn.Conv2d = DilatedDepthwise(channels, size, dilation, has_bias)
            else:
                conv = (nn.Conv2d if stays else SameConv2d)(
                    channels,
                    child.out_channels,
                    size,
                    stride=child.stride[0],
                    padding=dilation * (size // 2) if stays else 0,
                    dilation=dilation,
                    groups=child.groups,
                    bias=has_bias,
                )
            setattr(module, name, conv)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, BatchNorm(child.num_features, child.eps, child.momentum))
        else:
            _replace_layers(child)
