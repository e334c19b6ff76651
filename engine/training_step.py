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

from data.accumulation import Window
from engine import distributed
from engine.averaging import WeightAverage
from engine.compiled import Compiled
from engine.device import autocast_dtype
from engine.distillation import DISTILLATION_COLUMN, Distillation
from engine.normalization import normalization_of
from engine.options import TrainerOptions
from engine.running_loss import REMEDY, NonFiniteLoss, RunningLoss
from losses.weighted_sum import WeightedSum
from models.encoders import Encoder
from models.weights import encoder_of
from utils.errors import UserError


@dataclass(frozen=True)
class Components:
    """What is trained together.

    Attributes:
        model, loss: on the device, as `Trainer.prepare` returns them.
        optimizer: optimiser of the model's parameters.
        scheduler: stepped once per optimiser step.
        distillation: a teacher to learn from; None without one.
    """

    model: nn.Module
    loss: WeightedSum
    optimizer: Optimizer
    scheduler: LambdaLR
    distillation: Distillation | None = None


def encoder_to_freeze(model: nn.Module, options: TrainerOptions) -> Encoder | None:
    """Return the encoder to freeze in the first epochs; None if there is none.

    Raises:
        UserError: the network has no encoder, or one that is frozen for all epochs.
    """
    if not options.freeze_encoder_epochs:
        return None
    option = f"trainer.freeze_encoder_epochs={options.freeze_encoder_epochs}"
    encoder = encoder_of(model, option)
    if encoder.frozen:
        raise UserError(f"{option}: model.freeze_encoder=true freezes it for all epochs; pass only one of them")
    return encoder


class TrainingStep:
    """A network, its optimiser, and all other state that changes with the weights. Call it to take an optimiser step.

    Attributes:
        normalization: normalisation of the network's input.
        autocast: dtype of mixed precision; None for float32.
        scaler: scaler of the gradients; does nothing without float16.
        running: the losses of the steps.
        average: exponential moving average of the weights; None without `trainer.ema`.
    """

    def __init__(self, components: Components, options: TrainerOptions, device: torch.device) -> None:
        self.model = components.model
        self.loss = components.loss
        self.optimizer = components.optimizer
        self.scheduler = components.scheduler
        self.distillation = components.distillation
        self.device = device
        self.channels_last = options.channels_last
        self.grad_clip = options.grad_clip
        self.normalization = normalization_of(self.model)
        self.autocast = autocast_dtype(options.amp, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast == torch.float16)
        self.reset_losses()
        self._trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._compile = options.compile
        self._wrap()
        self._encoder = encoder_to_freeze(self.model, options)
        self.average = WeightAverage(self.model, options.ema_decay) if options.ema else None

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and to keep: the averaged one if there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group."""
        return self.optimizer.param_groups[0]["lr"]

    def _wrap(self) -> None:
        """Wrap the model for torch.compile and several processes; the wrappers share its weights."""
        self._parallel = None
        if distributed.processes() > 1:
            # Gradients are not copied to and from the buffers of the exchange. On a CPU the first MB is not exchanged
            # separately: nothing is computed meanwhile.
            together = 25 if self.device.type == "cpu" else None
            self._parallel = DistributedDataParallel(self.model, gradient_as_bucket_view=True, bucket_cap_mb=together)
            # Running statistics are not used in training; before validation, all processes get the first one's.
            self._parallel.broadcast_buffers = False
        network = self._parallel or self.model
        self._network: Any = Compiled(network) if self._compile else network

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze or unfreeze the encoder, with `trainer.freeze_encoder_epochs`."""
        if self._encoder is None or self._encoder.frozen == frozen:
            return
        if frozen:
            self._encoder.freeze()
        else:
            self._encoder.unfreeze()
        self._wrap()  # DistributedDataParallel waits for the gradients of the parameters that it was built with

    def reset_losses(self) -> None:
        """Forget the losses of the steps so far."""
        self.running = RunningLoss(self.loss, self.device, () if self.distillation is None else (DISTILLATION_COLUMN,))

    def __call__(self, window: Window, step_number: int) -> Tensor | None:
        """Take one optimiser step over the micro-batches of a window.

        Terms are divided by the denominators of the whole window, over all processes, so that the gradient equals that
        of one large batch if the term allows it. The loss of the main logits is reported, as in validation.

        Args:
            step_number: number of this step, counted from 1.

        Returns:
            The norm of the gradient before clipping; None if it is not clipped.
        """
        pinned = self.device.type == "cuda"
        masks = [batch.masks.to(self.device, non_blocking=pinned).long() for batch in window.batches]
        denominators = [self._denominators(mask) for mask in masks]
        # Batches from `counted` on repeat earlier ones, so that all processes have equally many. They count nothing.
        for denominator in denominators[window.counted :]:
            denominator.zero_()
        window_denominators = torch.stack(denominators).sum(0) if len(masks) > 1 else denominators[0].clone()
        distributed.sum_over_processes(window_denominators)
        for i, (batch, mask, denominator) in enumerate(zip(window.batches, masks, denominators, strict=True)):
            images = batch.images.to(self.device, non_blocking=pinned)
            is_last = i == len(masks) - 1  # processes exchange gradients once, after the last micro-batch
            with nullcontext() if self._parallel is None or is_last else self._parallel.no_sync():
                totals, with_auxiliary = self._forward(images, mask)
                # DDP takes the mean of the gradient over processes; the sum is wanted.
                gradient_factor = distributed.processes() if i < window.counted else 0
                loss = self._minimised(with_auxiliary, window_denominators)
                self.scaler.scale(gradient_factor * loss).backward()
            if i < window.counted:
                self.running.add(totals.detach(), denominator, batch.names, with_auxiliary.detach())
        return self._update_weights(step_number)

    def _forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the totals (terms,) of the loss of the main logits, and the same with those of auxiliary logits added.

        With distillation, its total comes last in both.
        """
        distilled = []
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self._network(self.normalization(images, self.channels_last))
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            if self.distillation is not None:
                distilled = [self.distillation(images, logits, self.channels_last).total.unsqueeze(0)]
        totals = with_auxiliary = self.loss.totals(logits, mask)
        for other in auxiliary:
            with_auxiliary = with_auxiliary + self.loss.auxiliary_weight * self.loss.totals(other, mask)
        return torch.cat([totals, *distilled]), torch.cat([with_auxiliary, *distilled])

    def _denominators(self, mask: Tensor) -> Tensor:
        """Return the denominators (terms,) of the totals that `_forward` returns."""
        denominators = self.loss.denominators(mask)
        if self.distillation is None:
            return denominators
        return torch.cat([denominators, self.distillation.term.denominator(mask).unsqueeze(0)])

    def _minimised(self, totals: Tensor, denominators: Tensor) -> Tensor:
        """Return the loss to minimise, a scalar, from totals and denominators (terms,)."""
        if self.distillation is None:
            return self.loss.total(totals, denominators)
        own = self.loss.total(totals[:-1], denominators[:-1])
        return own + self.distillation.weight * totals[-1] / denominators[-1]

    def _update_weights(self, step_number: int) -> Tensor | None:
        """Clip the gradient, and step the optimiser, the schedule and the average."""
        norm = None
        if self.grad_clip is not None:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self._trained, self.grad_clip)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.get_scale() >= scale:  # smaller: the scaler has skipped the step
            self.scheduler.step()
        if self.average is not None:
            self.average.update(step_number)
        return norm

    def check_finite(self, steps: int) -> None:
        """Check losses and weights before they are saved over good ones. Waits for the device.

        Args:
            steps: done so far, for the message.

        Raises:
            NonFiniteLoss: a loss since the last check, or a weight, is NaN or infinite.
        """
        self.running.read()
        norms = torch._foreach_norm([parameter.detach() for parameter in self.model.parameters()])
        if not torch.stack(norms).isfinite().all():
            raise NonFiniteLoss(f"a weight is NaN or infinite after step {steps}, because a gradient was\n{REMEDY}")
