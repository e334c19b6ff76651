"""A loss: the weighted sum of named terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from losses.class_sums import class_sums
from losses.term import LossTerm, SumsTerm, Term

LARGEST = 1_000_000
"""Largest weight. Sums of losses of larger ones leave the range of float32."""


class WeightedSum(nn.Module):
    """Weighted sum of terms on the same logits; called like a loss of PyTorch, it returns a scalar.

    Args:
        terms: name -> term.
        weights: name -> weight; must name exactly the terms.
        auxiliary_weight: weight of each of a network's auxiliary logits; its main logits have weight 1.

    Raises:
        ValueError: `weights` and `terms` have different names, a weight is negative, too large or NaN, or all are 0.
    """

    weights: Tensor

    def __init__(
        self, terms: Mapping[str, LossTerm], weights: Mapping[str, float], auxiliary_weight: float = 0.4
    ) -> None:
        super().__init__()
        if set(weights) != set(terms):
            raise ValueError(f"weights must name exactly {', '.join(terms)}; got {', '.join(weights) or 'none'}")
        for name, weight in {**weights, "auxiliary_weight": auxiliary_weight}.items():
            if not 0 <= weight <= LARGEST:
                raise ValueError(f"{name}={weight}: the weight must be from 0 to {LARGEST:,}")
        if not any(weights.values()):
            raise ValueError("weights: all are 0, so there is nothing to train for")
        self.terms = nn.ModuleList(terms.values())
        self.names = tuple(terms)
        self.auxiliary_weight = auxiliary_weight
        self.register_buffer("weights", torch.tensor([float(weights[n]) for n in terms]), persistent=False)

    def forward(self, output: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Compute the loss of a network's output, a scalar.

        Args:
            output: logits (N, C, H, W), or a tuple with auxiliary logits after the main ones.
            target: int64 (N, H, W).
        """
        logits, *auxiliary = output if isinstance(output, tuple) else (output,)
        totals = self.totals(logits, target)
        for other in auxiliary:
            totals = totals + self.auxiliary_weight * self.totals(other, target)
        return self.total(totals, self.denominators(target))

    def named_terms(self, logits: Tensor, target: Tensor) -> dict[str, Term]:
        """Compute the terms for logits (N, C, H, W) and an int64 target (N, H, W)."""
        named = dict(zip(self.names, self.terms, strict=True))
        found: dict[str, Term] = {}
        if any(isinstance(term, SumsTerm) for term in named.values()):
            sums = class_sums(logits, target)
            found = {name: term.from_sums(sums) for name, term in named.items() if isinstance(term, SumsTerm)}
        if len(found) < len(named) and torch.finfo(logits.dtype).bits < 32:
            # Sums over pixels leave the range of float16, and the precision of bfloat16. Users may not think of that.
            logits = logits.float()
        return {name: found[name] if name in found else term(logits, target) for name, term in named.items()}

    def totals(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute only the totals of the terms, (number of terms,)."""
        return torch.stack([term.total for term in self.named_terms(logits, target).values()])

    def denominators(self, target: Tensor) -> Tensor:
        """Compute the denominators of the terms for this target, float32 (number of terms,)."""
        return torch.stack([cast(LossTerm, term).denominator(target) for term in self.terms])

    def total(self, totals: Tensor, denominators: Tensor) -> Tensor:
        """Compute the loss, a scalar, from totals and denominators of the terms (number of terms,).

        A term with denominator 0 had no labelled pixel. It adds nothing to the loss or its gradient.
        """
        return (self.weights * totals / denominators.where(denominators > 0, 1)).sum()
