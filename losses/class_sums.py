"""Sums per class over the pixels of a batch: all that cross-entropy, soft-IoU and soft-Dice need."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from data.labels import IGNORE_INDEX


class ClassSums(NamedTuple):
    """Sums over the valid pixels of a batch, each float32 (C,), where p is the softmax of the logits.

    Attributes:
        surprise: sum of -log p_c over the pixels of class c.
        intersection: sum of p_c over the pixels of class c.
        predicted: sum of p_c over all pixels.
        present: number of pixels of class c; has no gradient.
    """

    surprise: Tensor
    intersection: Tensor
    predicted: Tensor
    present: Tensor


def class_sums(logits: Tensor, target: Tensor) -> ClassSums:
    """Compute the sums in float32 for logits (N, C, H, W) of any float dtype and a target int64 (N, H, W)."""
    return ClassSums(*_ClassSums.apply(logits, target))


class _ClassSums(torch.autograd.Function):
    """The sums without a one-hot tensor, with a hand-written gradient.

    Autograd would store log-softmax, softmax, the one-hot target and products of them for the backward pass. This
    function stores only the logits, and recomputes the softmax in the tensor that becomes the gradient. Let d, a and b
    be the gradients of the loss with respect to surprise, intersection and predicted. The gradient with respect to p_c
    at a valid pixel of class t is g_c = b_c + (a_t - d_t / p_t) [c = t], so the gradient with respect to the logits is
    p_c (g_c - <p, g>) = p_c (b_c - <p, b> - p_t a_t + d_t) + (p_t a_t - d_t) [c = t].
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        classes = logits.shape[1]
        with torch.autocast(logits.device.type, enabled=False):
            planes = logits.flatten(2).contiguous()  # a copy of channels_last logits, kept for the gradient
            log_p = torch.log_softmax(planes, dim=1, dtype=torch.float32)  # (N, C, HW)
            valid = target.flatten(1) != IGNORE_INDEX
            index = target.flatten(1).where(valid, 0)
            weight = valid.float()
            log_p_target = log_p.gather(1, index.unsqueeze(1)).squeeze(1) * weight
            p = log_p.exp_()
            p_target = p.gather(1, index.unsqueeze(1)).squeeze(1) * weight
            predicted = torch.bmm(p, weight.unsqueeze(2)).sum((0, 2))
            surprise, intersection, present = (
                _by_class(values, index, classes) for values in (-log_p_target, p_target, weight)
            )
        ctx.save_for_backward(planes, index, weight, p_target)
        ctx.shape, ctx.channels_last = logits.shape, logits.is_contiguous(memory_format=torch.channels_last)
        ctx.mark_non_differentiable(present)
        return surprise, intersection, predicted, present

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_s: Tensor, grad_i: Tensor, grad_p: Tensor, _: Tensor) -> tuple[Tensor, None]:
        planes, index, weight, p_target = ctx.saved_tensors
        with torch.autocast(planes.device.type, enabled=False):
            p = torch.softmax(planes, dim=1, dtype=torch.float32)
            d_target = grad_s[index] * weight
            own = p_target * grad_i[index] - d_target
            common = torch.matmul(grad_p, p).add_(own)
            for c in range(p.shape[1]):  # class by class: the whole factor would be as large as the logits
                p[:, c].mul_((grad_p[c] - common).mul_(weight))
            p.scatter_add_(1, index.unsqueeze(1), own.unsqueeze(1))
            gradient = p.to(planes.dtype).view(ctx.shape)
        return gradient.contiguous(memory_format=torch.channels_last) if ctx.channels_last else gradient, None


def _by_class(values: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sum values (N, HW) by the class at the same position of `index`: float32 (C,)."""
    # float32 cannot count beyond 2^24 pixels
    sums = torch.zeros(classes, dtype=widest_float(values.device), device=values.device)
    return sums.scatter_add_(0, index.flatten(), values.flatten().to(sums.dtype)).float()


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which do not support it."""
    return torch.float32 if device.type == "mps" else torch.float64
