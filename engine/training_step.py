"""One step of the optimiser, over one or more micro-batches and processes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from data.loading import TrainingBatch
from engine import distributed
from engine.averaging import WeightAverage
from engine.compiled import Compiled
from engine.normalization import Normalization
from engine.running_loss import RunningLoss
from losses.weighted_sum import WeightedSum


@dataclass(frozen=True)
class Components:
    """What is trained together.

    Attributes:
        model, loss: on the device, as `Trainer.prepare` returns them.
        optimizer: of the model's parameters.
        scheduler: stepped once per optimiser step.
    """

    model: nn.Module
    loss: WeightedSum
    optimizer: Optimizer
    scheduler: LambdaLR


class TrainingStep:
    """A network with all that changes together with its weights; called, it takes a step.

    Args:
        components: on the device, in the memory layout that `channels_last` selects.
        autocast: the dtype of mixed precision; None for float32.
        grad_clip: largest norm of the gradient; None does not clip.
        ema_decay: of an average of the weights; None keeps none.
        compile: have torch.compile translate the network; where it cannot, goes on without.

    Attributes:
        scaler: of the gradients, where float16 needs it.
        average: of the weights, or None.
        running: the losses of the steps.
    """

    def __init__(
        self,
        components: Components,
        normalization: Normalization,
        *,
        device: torch.device,
        autocast: torch.dtype | None = None,
        channels_last: bool = True,
        grad_clip: float | None = None,
        ema_decay: float | None = None,
        compile: bool = False,
    ) -> None:
        model, loss = components.model, components.loss
        self.model, self.loss = model, loss
        self.optimizer, self.scheduler = components.optimizer, components.scheduler
        self.normalization, self.device, self.autocast = normalization, device, autocast
        self.channels_last, self.grad_clip = channels_last, grad_clip
        self.scaler = torch.amp.GradScaler(device.type, enabled=autocast == torch.float16)
        self.running = RunningLoss(loss, device)
        self._trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        # What is called; its weights are the model's.
        self._parallel = DistributedDataParallel(model) if distributed.processes() > 1 else None
        network = self._parallel or model
        self._network: Any = Compiled(network) if compile else network
        self.average = None if ema_decay is None else WeightAverage(model, ema_decay)

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and to keep: with averaged weights where there are any."""
        return self.model if self.average is None else self.average.module

    def __call__(self, window: list[TrainingBatch], counted: int, step: int) -> Tensor | None:
        """One optimiser step over the micro-batches of a window.

        Terms are divided by the denominators of the whole window, in all processes, so that the gradient is that of
        one large batch wherever the term allows it. What is reported is the loss of the main logits, as in validation.

        Args:
            counted: how many of the micro-batches count. At the end of an epoch other processes may have one more;
                they all have to go over the same number, so this one's last adds nothing to the gradient.
            step: number of this step, from 1.

        Returns:
            The gradient's norm, if it clips.
        """
        pinned = self.device.type == "cuda"
        masks = [batch.masks.to(self.device, non_blocking=pinned).long() for batch in window]
        denominators = [self.loss.denominators(mask) for mask in masks]
        for denominator in denominators[counted:]:
            denominator.zero_()
        total_denominators = torch.stack(denominators).sum(0) if len(window) > 1 else denominators[0].clone()
        distributed.add_up(total_denominators)
        for i, (batch, mask, denominator) in enumerate(zip(window, masks, denominators, strict=True)):
            images = batch.images.to(self.device, non_blocking=pinned)
            more = i < len(window) - 1  # gradients are exchanged once, with the last
            with self._parallel.no_sync() if self._parallel is not None and more else nullcontext():
                with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
                    outputs = self._network(self.normalization(images, self.channels_last))
                logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
                totals = objective = self.loss.totals(logits, mask)
                for other in auxiliary:
                    objective = objective + self.loss.auxiliary_weight * self.loss.totals(other, mask)
                # The gradient becomes the mean over the processes, and is to be their sum.
                share = distributed.processes() if i < counted else 0
                self.scaler.scale(share * self.loss.total(objective, total_denominators)).backward()
            if i < counted:
                self.running.add(totals.detach(), denominator, batch.names, objective.detach())
        norm = None
        if self.grad_clip is not None:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self._trained, self.grad_clip)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.get_scale() >= scale:  # a smaller scale says that the scaler skipped the step
            self.scheduler.step()
        if self.average is not None:
            self.average.update(step)
        return norm
