"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from engine.size import in_channels_of

SIDE = 64
"""Height and width of the image that is used to find out which layers follow each other."""

Conv = nn.Conv2d | nn.ConvTranspose2d


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a network with the same outputs that computes its batch norms within its convolutions.

    A batch norm in eval mode is a scale and an offset per channel. It can be folded if its input is the output of a
    convolution, both are called once in a forward pass, and nothing else uses that output. The last cannot be seen, so
    the outputs for a random image are compared; the network itself is returned if they differ, or if it cannot be run.

    Args:
        model: a network in eval mode; not changed.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, in_channels_of(model), SIDE, SIDE, dtype=torch.float64, generator=generator)
    try:
        # In float64 on the CPU: TF32 and 16 bits differ by more than a use of the output might.
        folded = copy.deepcopy(model).cpu().double()
        expected, pairs = _watched(folded, images)
        _fold(folded, pairs)
        found = folded(images)
        is_same = found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-6 * expected.abs().max())
        return folded.to(next(model.parameters())) if is_same else model
    except Exception:  # not every network takes such images, or lets its layers be replaced
        return model


def _watched(model: nn.Module, images: Tensor) -> tuple[Tensor, list[tuple[Conv, nn.BatchNorm2d]]]:
    """Run a network. Return its output and each convolution that a batch norm follows."""
    calls: Counter[nn.Module] = Counter()
    made_by: dict[int, tuple[Conv, Tensor]] = {}  # by the id of a tensor, which is kept, so that no other gets it
    pairs: list[tuple[Conv, nn.BatchNorm2d]] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if isinstance(module, Conv):
            made_by[id(output)] = (module, output)
        elif isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])][0], module))
        elif not isinstance(module, nn.Identity) and not any(module.children()):
            made_by.pop(id(output), None)  # a dropout returns its input unless it is on; others may work in place

    hooks = [module.register_forward_hook(watch) for module in model.modules()]
    outputs = model(images)
    for hook in hooks:
        hook.remove()
    return outputs, [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def _fold(model: nn.Module, pairs: list[tuple[Conv, nn.BatchNorm2d]]) -> None:
    """Replace the convolutions by those that include their batch norms, in place."""
    replacements: dict[nn.Module, nn.Module] = {}
    for conv, norm in pairs:
        is_transposed = isinstance(conv, nn.ConvTranspose2d)
        replacements[conv] = fuse_conv_bn_eval(conv, norm, is_transposed)
        # timm's batch norms include dropout and activation.
        rest = [layer for layer in norm.children() if not isinstance(layer, nn.Identity)]
        replacements[norm] = nn.Sequential(*rest)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child in replacements:
                setattr(module, name, replacements[child])
