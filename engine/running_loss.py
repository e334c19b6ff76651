"""The losses of an epoch, summed on the device and read rarely, so that steps need not wait."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine import distributed
from losses.class_sums import widest_float
from losses.weighted_sum import WeightedSum
from utils.errors import UserError

REMEDY = "Start a new run with a smaller optimizer.lr, trainer.grad_clip=1 or trainer.amp=off"


class NonFiniteLoss(UserError):
    """The loss of a batch or a weight is NaN or infinite."""

    resumable = False


class RunningLoss:
    """Sums of the terms over the batches of an epoch.

    Args:
        others: names of further terms, which are reported after those of the loss.

    Attributes:
        totals, denominators: (terms,) on the device, in its widest float.
    """

    def __init__(self, loss: WeightedSum, device: torch.device, others: tuple[str, ...] = ()) -> None:
        self._loss = loss
        self._others = others
        self.totals = torch.zeros(len(loss.names) + len(others), dtype=widest_float(device), device=device)
        self.denominators = torch.zeros_like(self.totals)
        self._unread: list[tuple[Tensor, list[str]]] = []

    def add(self, totals: Tensor, denominators: Tensor, names: list[str], minimised: Tensor | None = None) -> None:
        """Add the detached totals and denominators (terms,) of a batch of samples `names`.

        Args:
            minimised: the totals that were minimised, if they differ from those to report.
        """
        self.totals += totals
        self.denominators += denominators
        self._unread.append((totals if minimised is None else minimised, names))

    def read(self) -> dict[str, float]:
        """Return the epoch's loss so far, and its terms, by name. Waits for the device.

        Raises:
            NonFiniteLoss: a batch since the last reading had a NaN or infinite loss; the samples are named.
        """
        if self._unread:
            finite = torch.stack([totals for totals, _ in self._unread]).isfinite().all(1).tolist()
            for fine, (totals, names) in zip(finite, self._unread, strict=True):
                if not fine:
                    values = zip((*self._loss.names, *self._others), totals.tolist(), strict=True)
                    terms = ", ".join(f"{name} {value}" for name, value in values)
                    raise NonFiniteLoss(
                        f"the loss is not finite ({terms}) in the batch of: {', '.join(names)}\n{REMEDY}"
                    )
            self._unread.clear()
        return named_losses(self._loss, self.totals, self.denominators, self._others)

    def read_all(self) -> dict[str, float]:
        """Return the same as `read`, over all processes, which must all call it."""
        self.read()
        totals, denominators = distributed.sum_over_processes(torch.stack([self.totals, self.denominators]))
        return named_losses(self._loss, totals, denominators, self._others)


def named_losses(
    loss: WeightedSum, totals: Tensor, denominators: Tensor, others: tuple[str, ...] = ()
) -> dict[str, float]:
    """Return {"loss": ..., <term>: ...} of totals and denominators (terms,); NaN if there was nothing to average.

    Args:
        others: names of further terms, which are not part of "loss".
    """
    own = slice(len(loss.names))
    labelled = (denominators[own] > 0).any()
    total = loss.total(totals[own], denominators[own]).item() if labelled else math.nan
    values = totals / denominators  # 0 / 0 = NaN
    return {"loss": total, **dict(zip((*loss.names, *others), values.tolist(), strict=True))}
