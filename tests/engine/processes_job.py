"""The program of each process of tests/engine/test_distributed.py: python -m tests.engine.processes_job NAME FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.augmentation import Augmentation
from data.cache import CachedSamples, InMemory
from data.labels import IGNORE_INDEX
from data.loading import ALONE, Share, TrainingLoader, ValidationLoader
from data.resized import ResizedSamples
from data.samples import Sample, SegmentationDataset
from engine import distributed
from engine.distillation import Distillation
from engine.randomness import seed_everything
from engine.run_record import RunRecord
from engine.schedules import constant
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import ce_iou, cross_entropy
from losses.distillation import LogitDistillation
from losses.weighted_sum import WeightedSum
from tests.engine.small import SIZE, Encoded, Halves, Net
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

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.double())


def of_unequal_batches(folder: Path, share: Share) -> dict[str, Any]:
    """Train on samples in memory of which some are void."""
    trainer = Trainer(epochs=2, device="cpu", accumulation_steps=ACCUMULATION)
    seed_everything(share.rank)  # so that the weights have to come from the first
    model = trainer.prepare(Precise())
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}, class_weights=WEIGHTS))
    samples = distributed.once_per_machine(
        lambda: CachedSamples(ResizedSamples(PartlyVoid(TRAINING), SIZE, True), "ram")
    )
    found = fit(folder, share, trainer, model, loss, samples, PartlyVoid(VALIDATION))
    assert isinstance(samples._store, InMemory)
    return found | {"shared": samples._store.memory.name}


def of_an_encoder_and_a_teacher(folder: Path, share: Share = ALONE, accumulation_steps: int = 1) -> dict[str, Any]:
    """Train two epochs with a teacher, in the first with a frozen encoder."""
    trainer = Trainer(epochs=2, device="cpu", accumulation_steps=accumulation_steps, freeze_encoder_epochs=1)
    seed_everything(7)
    teacher = trainer.prepare(Encoded(dropout=0.0).double())
    seed_everything(share.rank)
    model = trainer.prepare(Encoded(dropout=0.0).double())
    distillation = Distillation(teacher, LogitDistillation(2.0), weight=0.7)
    loss = trainer.prepare(cross_entropy())
    found = fit(folder, share, trainer, model, loss, Halves(11), Halves(3), distillation)
    return found | {"teacher": teacher.state_dict()}


def fit(
    folder: Path,
    share: Share,
    trainer: Trainer,
    model: nn.Module,
    loss: WeightedSum,
    training: SegmentationDataset,
    validation: SegmentationDataset,
    distillation: Distillation | None = None,
) -> dict[str, Any]:
    """Train with SGD; return the gradients of each step by parameter, and the results."""
    loader = TrainingLoader(training, Augmentation(), image_size=SIZE, batch_size=BATCH_SIZE, seed=0, share=share)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients: list[dict[str, Tensor]] = []
    optimizer.register_step_pre_hook(
        lambda *_: gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    )
    columns = trainer.metric_columns(loss, Halves.labels, distils=distillation is not None)
    run = RunFolder(folder) if share.rank == 0 else None
    record = RunRecord(run, NoLogger(), columns, {"config": {}, "image_size": list(SIZE)})
    components = Components(model, loss, optimizer, constant(optimizer, 10, 5), distillation)
    loop = trainer.fit(components, loader, ValidationLoader(validation, batch_size=BATCH_SIZE, share=share), record)
    return {"gradients": gradients, "weights": model.state_dict(), "confusion": loop.saver.confusion}


def main(name: str, folder: Path) -> None:
    distributed.join()
    share = Share(distributed.rank(), distributed.processes())
    torch.save(globals()[name](folder / "run", share), folder / f"{share.rank}.pt")
    distributed.leave()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
