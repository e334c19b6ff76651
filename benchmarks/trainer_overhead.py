"""What the Trainer adds to a bare loop with the same network, loss, optimiser and batches in memory.

python -m benchmarks.trainer_overhead
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.timing import milliseconds, seconds
from data.loading import EpochBatches, TrainingBatch, TrainingLoader, ValidationBatch, ValidationLoader
from data.synthetic import LABELS
from engine.normalization import IMAGENET
from engine.run_record import RunRecord
from engine.schedules import poly
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import ce_iou
from losses.weighted_sum import WeightedSum
from models.enet import ENet
from utils.loggers import Logger, NoLogger, TensorBoard
from utils.run_folder import RunFolder
from utils.tables import table

SIZE, BATCH_SIZE = (96, 128), 8  # as in conf/data/synthetic.yaml
STEPS, WARMUP, EPOCHS = 10, 1, 20


class Batches:
    """Random batches in memory, with what the Trainer reads of a `TrainingLoader`."""

    watched = None
    image_size = SIZE

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.order = EpochBatches(STEPS * BATCH_SIZE, BATCH_SIZE, seed=0)
        self.batches = [
            TrainingBatch(
                torch.randint(256, (BATCH_SIZE, 3, *SIZE), generator=generator, dtype=torch.uint8),
                torch.randint(len(LABELS), (BATCH_SIZE, *SIZE), generator=generator),
                [f"{step}/{i}" for i in range(BATCH_SIZE)],
            )
            for step in range(STEPS)
        ]

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[TrainingBatch]:
        return iter(self.batches)


class OneImage:
    """The least that a validation can be."""

    samples = 1
    labels = LABELS
    watched = None

    def __iter__(self) -> Iterator[ValidationBatch]:
        yield ValidationBatch(
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [torch.zeros(32, 32, dtype=torch.uint8)], [""]
        )


class Rival:
    """A network and what trains it."""

    def __init__(self, trainer: Trainer) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = trainer.prepare(ENet(len(LABELS)))
        self.loss: WeightedSum = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}))
        self.optimizer: Optimizer = AdamW(self.model.parameters(), lr=1e-3)
        self.scheduler: LambdaLR = poly(self.optimizer, STEPS * trainer.epochs, STEPS)


def bare_epoch(rival: Rival, batches: Batches) -> None:
    """Normalise, forward, loss, backward, step: nothing is checked, counted, shown or kept."""
    rival.model.train()
    for images, masks, _ in batches:
        logits = rival.model(IMAGENET(images, channels_last=True))
        terms = rival.loss(logits, masks.long()).values()
        totals, denominators = (torch.stack(values) for values in zip(*terms, strict=True))
        rival.loss.total(totals, denominators).backward()
        rival.optimizer.step()
        rival.optimizer.zero_grad(set_to_none=True)
        rival.scheduler.step()


class Timed(Trainer):
    """A Trainer that times its epochs, validation and checkpoints aside, in turn with those of the bare loop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bare = Rival(self)
        self.times: dict[str, list[float]] = {"bare loop": [], "Trainer": []}

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        losses: dict[str, float] = {}
        epochs = {
            "bare loop": lambda: bare_epoch(self.bare, cast(Batches, self.train)),
            "Trainer": lambda: losses.update(super(Timed, self)._train_epoch(epoch)),
        }
        for name in list(epochs) if epoch % 2 else reversed(list(epochs)):
            self.times[name].append(seconds(epochs[name]) / STEPS)
        return losses


def compare(folder: str, logger: Logger, **options: Any) -> dict[str, float]:
    """Median seconds of a step of the bare loop and of the Trainer with these options."""
    trainer = Timed(epochs=WARMUP + EPOCHS, device="cpu", validate_every=WARMUP + EPOCHS, **options)
    rival = Rival(trainer)
    logger.begin("benchmark", None, {}, {})
    record = RunRecord(RunFolder(folder), logger, trainer.metric_columns(rival.loss, LABELS), description={})
    components = Components(rival.model, rival.loss, rival.optimizer, rival.scheduler)
    trainer.fit(components, cast(TrainingLoader, Batches()), cast(ValidationLoader, OneImage()), record)
    logger.close("finished")
    return {name: statistics.median(times[WARMUP:]) for name, times in trainer.times.items()}


def main() -> None:
    rows = [["ENet, CE + soft-IoU, AdamW", "bare loop", "Trainer", "Trainer / bare loop"]]
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as full:
        found = {
            "as it is": compare(plain, NoLogger()),
            "EMA, TensorBoard, a checkpoint each 5 s": compare(
                full, TensorBoard(full), ema=True, checkpoint_minutes=5 / 60
            ),
        }
    for name, medians in found.items():
        bare, trainer = medians["bare loop"], medians["Trainer"]
        rows.append([name, milliseconds(bare), milliseconds(trainer), f"{trainer / bare:.3f}"])
    print(table(rows, f"{BATCH_SIZE} x {SIZE[0]}x{SIZE[1]}, {torch.get_num_threads()} threads"))


if __name__ == "__main__":
    main()
