"""Faster 1x1 convolutions on CPUs."""

from __future__ import annotations

from torch import nn


def compute_with_onednn(model: nn.Module) -> None:
    """Have oneDNN compute the 1x1 convolutions of a network that runs with one thread.

    PyTorch gives it a 1x1 convolution only with several threads, a stride, a dilation, or a batch of 16 or more, and
    otherwise takes up to 1.4 times as long on channels_last batches. A dilation does not change a kernel of one pixel.
    On small single images oneDNN takes longer, so this is for training.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)
