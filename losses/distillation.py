"""Terms that compare a network's logits with those of its teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from losses.term import Term


class DistillationTerm(nn.Module, ABC):
    """Base class: `forward(logits, teacher) -> Term`, for logits (N, C, H, W) of any float dtype.

    Computed in float32 on all pixels, ignored ones included: the teacher has an opinion on them, too.

    Args:
        temperature: divides the logits; above 1 it brings out the probabilities of unlikely classes.

    Raises:
        ValueError: the temperature is not from 0.1 to 100.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        if not 0.1 <= temperature <= 100:
            raise ValueError(f"temperature={temperature}: must be from 0.1 to 100")
        self.temperature = temperature

    @abstractmethod
    def forward(self, logits: Tensor, teacher: Tensor) -> Term: ...

    @abstractmethod
    def denominator(self, target: Tensor) -> Tensor:
        """Compute the denominator that `forward` returns for a batch with this target (N, H, W): float32 scalar."""

    def _divergence(self, logits: Tensor, teacher: Tensor, dim: int) -> Tensor:
        """Compute temperature^2 times the Kullback-Leibler divergence KL(teacher || student), summed over everything.

        Args:
            dim: dimension over which the logits become probabilities.
        """
        with torch.autocast(logits.device.type, enabled=False):
            student = torch.log_softmax(logits.float() / self.temperature, dim)
            wanted = torch.log_softmax(teacher.float() / self.temperature, dim)
            return (wanted.exp() * (wanted - student)).sum() * self.temperature**2


class LogitDistillation(DistillationTerm):
    """Divergence between the class probabilities of each pixel, averaged over pixels.

    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, applied to pixels. The factor
    temperature^2 keeps the size of the gradient (section 2).
    """

    def forward(self, logits: Tensor, teacher: Tensor) -> Term:
        total = self._divergence(logits, teacher, 1)
        return Term(total, torch.full_like(total, logits.numel() / logits.shape[1]))

    def denominator(self, target: Tensor) -> Tensor:
        return torch.full((), float(target.numel()), device=target.device)


class ChannelDistillation(DistillationTerm):
    """Divergence between the distributions over pixels of each class, averaged over classes and images.

    The softmax of a class's logits over all pixels says where the network sees the class most. Shu et al. 2021,
    "Channel-wise Knowledge Distillation for Dense Prediction", arXiv 2011.13256, equations 3 to 5.
    """

    def forward(self, logits: Tensor, teacher: Tensor) -> Term:
        total = self._divergence(logits.flatten(2), teacher.flatten(2), 2) / logits.shape[1]
        return Term(total, torch.full_like(total, float(len(logits))))

    def denominator(self, target: Tensor) -> Tensor:
        return torch.full((), float(len(target)), device=target.device)
