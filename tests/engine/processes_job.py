"""The program of each process of tests/engine/test_distributed.py: python -m tests.engine.processes_job FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data.augmentation import Augmentation
from data.cache import CachedSamples, InMemory
from data.labels import IGNORE_INDEX
from data.loading import Share, TrainingLoader, ValidationLoader
from data.resized import ResizedSamples
from data.samples import Sample
from engine import distributed
from engine.randomness import seed_everything
from engine.run_record import RunRecord
from engine.schedules import constant
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import ce_iou
from tests.engine.small import SIZE, Halves, Net
from utils.loggers import NoLogger
from utils.run_folder import RunFolder

TRAINING, VALIDATION, BATCH_SIZE, ACCUMULATION = 13, 7, 2, 2
WEIGHTS = (1.0, 3.0)


class PartlyVoid(Halves):
    """`Halves` with samples without a labelled pixel; so some batches, and the shares of some processes, have none."""

    VOID = (1, 4, 6, 8, 10, 11)

    def __getitem__(self, index: int) -> Sample:
        image, mask, name = super().__getitem__(index)
        return Sample(image, np.full_like(mask, IGNORE_INDEX) if index in self.VOID else mask, name)


class Precise(nn.Module):
    """A small deterministic network in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Net().layers.double()
        self.layers[3] = nn.Identity()  # no dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.double())


def train(folder: Path, share: Share) -> dict[str, Any]:
    """Train on noise; return the gradients of all steps and the results."""
    folder.mkdir(exist_ok=True)
    first = distributed.rank() == 0
    trainer = Trainer(epochs=2, device="cpu", accumulation_steps=ACCUMULATION)
    seed_everything(distributed.rank())  # so that the weights have to come from the first
    model = trainer.prepare(Precise())
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}, class_weights=WEIGHTS))
    samples = distributed.once_per_machine(
        lambda: CachedSamples(ResizedSamples(PartlyVoid(TRAINING), SIZE, True), "ram")
    )
    batches = TrainingLoader(samples, Augmentation(), image_size=SIZE, batch_size=BATCH_SIZE, seed=0, share=share)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients: list[list[torch.Tensor]] = []
    optimizer.register_step_pre_hook(
        lambda *_: gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    )
    validation = ValidationLoader(PartlyVoid(VALIDATION), batch_size=BATCH_SIZE, share=share)
    description = {"config": {}, "image_size": list(SIZE)}
    columns = trainer.metric_columns(loss, Halves.labels)
    record = RunRecord(RunFolder(folder) if first else None, NoLogger(), columns, description)
    loop = trainer.fit(Components(model, loss, optimizer, constant(optimizer, 10, 5)), batches, validation, record)
    assert loop.saver.confusion is not None and isinstance(samples._store, InMemory)
    return {
        "gradients": gradients,
        "weights": model.state_dict(),
        "confusion": loop.saver.confusion,
        "shared": samples._store.memory.name,
    }


def main(folder: Path) -> None:
    distributed.join()
    share = Share(distributed.rank(), distributed.processes())
    torch.save(train(folder, share), folder / f"{distributed.rank()}.pt")
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
