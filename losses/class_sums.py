"""Sums per class over the pixels of a batch: all that cross-entropy, soft-IoU and soft-Dice need."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from data.labels import IGNORE_INDEX

SAFE = 40.0
"""Logits within this range need no shift: float32 holds exp of them, and the sum over a million classes."""
PARTS = 16
"""Parts of a batch whose gradient is computed at a time."""


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
    function stores the logits and a few numbers per pixel, and recomputes the softmax in the tensor that becomes the
    gradient. Let d, a and b be the gradients of the loss with respect to surprise, intersection and predicted. The
    gradient with respect to p_c at a valid pixel of class t is g_c = b_c + (a_t - d_t / p_t) [c = t], so the gradient
    with respect to the logits is
    p_c (g_c - <p, g>) = p_c (b_c - <p, b> - p_t a_t + d_t) + (p_t a_t - d_t) [c = t].

    Softmax is written as e / sum(e) with e = exp(logit - shift). On channels_last logits of few classes,
    `torch.softmax` takes several times as long, and so does a copy in another layout.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flat = logits.flatten(2)
        with torch.autocast(logits.device.type, enabled=False):
            flat_target = target.flatten(1)
            valid = flat_target != IGNORE_INDEX
            index = flat_target.where(valid, 0)
            weight = valid.float()
            shift = _shift(flat)
            e = _exp(flat, shift)
            total = _weighted_sum(torch.ones(e.shape[1], device=e.device), e)
            share = weight / total  # softmax / e, and 0 at ignored pixels
            target_logit = _at(flat, index).float() if shift is None else _at(flat, index) - shift
            log_p_target = target_logit - total.log_()
            p_target = log_p_target.exp().mul_(weight)  # faster than reading it from e
            log_p_target.mul_(weight)
            rows = e.unflatten(2, logits.shape[2:]), share.unflatten(1, logits.shape[2:])
            predicted = torch.stack([_over_pixels(*image) for image in zip(*rows, strict=True)]).sum(0)
            surprise, intersection, present = (
                _by_class(values, index, e.shape[1]) for values in (-log_p_target, p_target, weight)
            )
        ctx.save_for_backward(logits, index, weight, shift, share, p_target)
        ctx.mark_non_differentiable(present)
        return surprise, intersection, predicted, present

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_s: Tensor, grad_i: Tensor, grad_p: Tensor, _: Tensor) -> tuple[Tensor, None]:
        logits, index, weight, shift, share, p_target = ctx.saved_tensors
        with torch.autocast(logits.device.type, enabled=False):
            e = _exp(logits.flatten(2), shift)
            own = p_target * _of_class(grad_i, index) - _of_class(grad_s, index) * weight
            common = _weighted_sum(grad_p, e).mul_(share).add_(own)
            whole = (e, *(x.unsqueeze(1) for x in (common, share, index, own)))
            for part, subtracted, factor, of_class, added in zip(*(x.chunk(PARTS, -1) for x in whole), strict=True):
                # The whole difference would be as large as the logits, and a part stays in the cache.
                difference = torch.sub(grad_p.unsqueeze(1), subtracted, out=torch.empty_like(part))
                part.mul_(difference.mul_(factor)).scatter_add_(1, of_class, added)
        return e.to(logits.dtype).unflatten(2, logits.shape[2:]), None


def _weighted_sum(weights: Tensor, e: Tensor) -> Tensor:
    """Sum over the classes of (N, C, P), times weights (C,): (N, P). On a CPU, `weights @ e` uses one thread only."""
    return torch.bmm(weights.expand(len(e), 1, -1), e).squeeze(1)


def _over_pixels(e: Tensor, share: Tensor) -> Tensor:
    """Sum (C, H, W), times (H, W), over the pixels of an image: (C,).

    Row by row: one product over two million pixels of float32 is wrong by 0.3 %, as it adds them one after another.
    """
    return torch.bmm(share.unsqueeze(1), e.permute(1, 2, 0)).sum((0, 1))


def _shift(flat: Tensor) -> Tensor | None:
    """Return the largest logit (N, P) of each pixel in (N, C, P), or None if exp cannot overflow without it.

    The check is for CPUs only: on a GPU it would wait for the device.
    """
    if flat.device.type == "cpu":
        lowest, highest = torch.aminmax(flat if flat.is_contiguous() else flat.transpose(1, 2))
        if lowest > -SAFE and highest < SAFE:
            return None
    return flat.amax(1).float()


def _exp(flat: Tensor, shift: Tensor | None) -> Tensor:
    """Return exp(flat - shift), float32 (N, C, P)."""
    return flat.float().exp() if shift is None else (flat - shift.unsqueeze(1)).exp_()


def _at(flat: Tensor, index: Tensor) -> Tensor:
    """Return the values (N, P) of the classes `index` (N, P) in (N, C, P)."""
    return flat.gather(1, index.unsqueeze(1)).squeeze(1)


def _of_class(values: Tensor, index: Tensor) -> Tensor:
    """Return `values[index]` of values (C,). `index_select` takes a fifth of the time on CPUs."""
    return values.index_select(0, index.flatten()).view(index.shape)


def _by_class(values: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sum values (N, HW) by the class at the same position of `index`: float32 (C,)."""
    # float32 cannot count beyond 2^24 pixels
    sums = torch.zeros(classes, dtype=widest_float(values.device), device=values.device)
    return sums.scatter_add_(0, index.flatten(), values.flatten().to(sums.dtype)).float()


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on Apple's GPUs, which do not support float64."""
    return torch.float32 if device.type == "mps" else torch.float64
