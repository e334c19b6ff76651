"""The options of the trainer. Imports no torch, so that a config is checked before anything slow is imported."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from utils.value_types import Device, Flag, NonNegative, Positive, Precision, Rate, Share, Text, Threads


class TrainerOptions(BaseModel):
    """Types, ranges and defaults of the keys of conf/trainer/default.yaml, which explains each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Positive
    device: Device = "auto"
    threads: Literal["auto"] | Threads = "auto"
    amp: Precision = "auto"
    channels_last: Flag = True
    accumulation_steps: Positive = 1
    grad_clip: Rate | None = None
    validate_every: Positive = 1
    monitor: Text = "val/miou"
    log_every: Positive = 10
    ema: Flag = False
    ema_decay: Share = 0.999
    early_stopping: Positive | None = None
    checkpoint_minutes: Rate | None = 10.0
    decay_norms: Flag = True
    compile: Flag = False
    sync_batchnorm: Flag = False
    deterministic: Flag = False
    freeze_encoder_epochs: NonNegative = 0
