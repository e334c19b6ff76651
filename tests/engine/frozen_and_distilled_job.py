"""The program of each process of a test: python -m tests.engine.frozen_and_distilled_job FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.augmentation import Augmentation
from data.loading import ALONE, Share, TrainingLoader, ValidationLoader
from engine import distributed
from engine.distillation import Distillation
from engine.randomness import seed_everything
from engine.run_record import RunRecord
from engine.schedules import constant
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import cross_entropy
from losses.distillation import LogitDistillation
from models.encoders import Encoder
from tests.engine.small import SIZE, Halves
from utils.loggers import NoLogger
from utils.run_folder import RunFolder


class Features(Encoder):
    channels, strides = (8,), (1,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).double()

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]

    def load_weights(self, weights: str) -> None:
        raise NotImplementedError


class Encoded(nn.Module):
    """A deterministic network in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classifier = Features(), nn.Conv2d(8, 2, 1).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.encoder(images.double())[0])


def train(folder: Path | None, share: Share = ALONE, accumulation_steps: int = 1) -> dict[str, Any]:
    """Train two epochs with a teacher, in the first with a frozen encoder; return the gradients and the results."""
    trainer = Trainer(epochs=2, device="cpu", accumulation_steps=accumulation_steps, freeze_encoder_epochs=1)
    seed_everything(7)
    teacher = trainer.prepare(Encoded())
    seed_everything(share.rank)  # so that the weights have to come from the first
    model = trainer.prepare(Encoded())
    distillation = Distillation(teacher, LogitDistillation(2.0), weight=0.7)
    loss = trainer.prepare(cross_entropy())
    batches = TrainingLoader(Halves(11), Augmentation(), image_size=SIZE, batch_size=2, seed=0, share=share)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients: list[dict[str, Tensor]] = []
    optimizer.register_step_pre_hook(
        lambda *_: gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    )
    validation = ValidationLoader(Halves(3), batch_size=2, share=share)
    columns = trainer.metric_columns(loss, Halves.labels, distils=True)
    record = RunRecord(
        None if folder is None else RunFolder(folder), NoLogger(), columns, {"config": {}, "image_size": list(SIZE)}
    )
    components = Components(model, loss, optimizer, constant(optimizer, 10, 5), distillation)
    trainer.fit(components, batches, validation, record)
    return {"gradients": gradients, "weights": model.state_dict(), "teacher": teacher.state_dict()}


def main(folder: Path) -> None:
    distributed.join()
    share = Share(distributed.rank(), distributed.processes())
    found = train(folder / "run" if share.rank == 0 else None, share)
    torch.save(found, folder / f"{share.rank}.pt")
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
