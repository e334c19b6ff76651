"""Soft-IoU and soft-Dice: one minus the overlap of predicted probabilities and truth, class by class.

With p the softmax of the logits, and sums over the valid pixels of the whole batch,

    I_c = sum p_c [target = c],   P_c = sum p_c,   T_c = sum [target = c],
    IoU_c = I_c / (P_c + T_c - I_c),   Dice_c = 2 I_c / (P_c + T_c).

Sources: Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
Segmentation" (soft-IoU); Milletari et al. 2016, "V-Net", arXiv 1606.04797 (soft-Dice).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from data.labels import IGNORE_INDEX
from losses.term import LossTerm, Term


class _ClassSums(torch.autograd.Function):
    """The softmax and its sums per class, without a one-hot tensor and with the gradient written out.

    Autograd would keep the softmax, the one-hot target and their product for the backward pass, where
    the softmax alone is enough: with a and b the gradients of the loss with respect to I and P, that
    with respect to p_c at a valid pixel of class t is g_c = b_c + a_t [c = t], and that with respect
    to the logit p_c (g_c - <p, g>).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, C, H, W), target (N, H, W) -> (I, P, T), each float32 (C,)."""
        n, c = logits.shape[:2]
        with torch.autocast(logits.device.type, enabled=False):
            p = torch.softmax(logits.flatten(2), dim=1, dtype=torch.float32)  # (N, C, HW)
            valid = (target != IGNORE_INDEX).flatten(1)
            index = target.flatten(1).where(valid, 0)
            weight = valid.float()
            p_target = p.gather(1, index.unsqueeze(1)).squeeze(1) * weight  # (N, HW)
            predicted = torch.bmm(p, weight.unsqueeze(2)).sum((0, 2))
            # Summed image by image: float32 counts exactly up to 2^24 pixels only.
            intersection = weight.new_zeros(n, c).scatter_add_(1, index, p_target).sum(0)
            present = weight.new_zeros(n, c).scatter_add_(1, index, weight).sum(0)
        ctx.save_for_backward(p, index, weight, p_target)
        ctx.shape, ctx.dtype = logits.shape, logits.dtype
        ctx.mark_non_differentiable(present)
        return intersection, predicted, present

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_i: Tensor, grad_p: Tensor, _: Tensor) -> tuple[Tensor, None]:
        p, index, weight, p_target = ctx.saved_tensors
        with torch.autocast(p.device.type, enabled=False):
            at_target = p_target * grad_i[index]  # p_t a_t
            dot = torch.matmul(grad_p, p) + at_target  # <p, g>
            grad = (grad_p.view(1, -1, 1) - dot.unsqueeze(1)).mul_(p).mul_(weight.unsqueeze(1))
            grad.scatter_add_(1, index.unsqueeze(1), at_target.unsqueeze(1))
        return grad.view(ctx.shape).to(ctx.dtype), None


class _Overlap(LossTerm):
    """What soft-IoU and soft-Dice share: 1 - the mean of a score over classes.

    Args:
        classes: `present` averages over the classes that the target holds, `all` over all of them.
    """

    def __init__(self, classes: Literal["present", "all"] = "present") -> None:
        super().__init__()
        if classes not in ("present", "all"):
            raise ValueError(f"classes must be 'present' or 'all', not {classes!r}")
        self.classes = classes

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        """Overlap of each class, (C,), from the sums I, P and T; must be finite where all are 0."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Term:
        intersection, predicted, present = _ClassSums.apply(logits, target)
        loss = 1 - self.score(intersection, predicted, present)
        counted = (present > 0).float()
        if self.classes == "all":
            counted = counted.max().expand_as(counted)  # none where every pixel is ignored
        return Term((loss * counted).sum() / counted.sum().clamp_min(1), self.denominator(target))


class SoftIoU(_Overlap):
    """1 - mean over classes of I / (P + T - I)."""

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        return intersection / (predicted + present - intersection).clamp_min(1e-6)


class SoftDice(_Overlap):
    """1 - mean over classes of 2 I / (P + T)."""

    def score(self, intersection: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
        return 2 * intersection / (predicted + present).clamp_min(1e-6)
