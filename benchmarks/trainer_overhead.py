"""Overhead of the Trainer over a bare loop with the same network, loss, optimiser and batches in memory.

python -m benchmarks.trainer_overhead
python -m benchmarks.trainer_overhead --size 360 480 --epochs 4              # CamVid's size, where a step takes long
python -m benchmarks.trainer_overhead --size 360 480 --epochs 4 --compile    # both loops through torch.compile
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import AdamW

from benchmarks.timing import milliseconds, seconds
from data.loading import EpochBatches, TrainingBatch, TrainingLoader, ValidationBatch, ValidationLoader
from data.synthetic import LABELS
from engine.loop import TrainingLoop
from engine.normalization import IMAGENET
from engine.run_record import RunRecord
from engine.schedules import poly
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import ce_iou
from models.enet import ENet
from utils.loggers import Logger, NoLogger, TensorBoard
from utils.memory import keep_freed_memory
from utils.run_folder import RunFolder
from utils.tables import table
from utils.text import plural

SIZE, BATCH_SIZE = (96, 128), 8  # the size is that of conf/data/synthetic.yaml
STEPS, WARMUP, EPOCHS = 10, 1, 14


class Batches:
    """Random batches in memory, with the attributes of a `TrainingLoader` that the Trainer reads."""

    watched = None

    def __init__(self, size: tuple[int, int]) -> None:
        self.image_size = size
        generator = torch.Generator().manual_seed(0)
        self.order = EpochBatches(STEPS * BATCH_SIZE, BATCH_SIZE, seed=0)
        self.batches = [
            TrainingBatch(
                torch.randint(256, (BATCH_SIZE, 3, *size), generator=generator, dtype=torch.uint8),
                torch.randint(len(LABELS), (BATCH_SIZE, *size), generator=generator),
                [f"{step}/{i}" for i in range(BATCH_SIZE)],
            )
            for step in range(STEPS)
        ]

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[TrainingBatch]:
        return iter(self.batches)


class OneImage:
    """A validation set of one small image."""

    samples = 1
    labels = LABELS
    watched = None

    def __iter__(self) -> Iterator[ValidationBatch]:
        yield ValidationBatch(
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [torch.zeros(32, 32, dtype=torch.uint8)], [""]
        )


def components_of(trainer: Trainer) -> Components:
    """Build a network with loss, optimiser and schedule, the same each time."""
    torch.manual_seed(0)
    model = trainer.prepare(ENet(len(LABELS)))
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}))
    optimizer = AdamW(model.parameters(), lr=1e-3)
    return Components(model, loss, optimizer, poly(optimizer, STEPS * trainer.options.epochs, STEPS))


def bare_epoch(components: Components, network: Callable[[Tensor], Tensor], batches: Batches) -> None:
    """Normalise, forward, loss, backward, step: nothing is checked, counted, displayed or saved."""
    components.model.train()
    for images, masks, _ in batches:
        logits = network(IMAGENET(images, channels_last=True))
        components.loss(logits, masks.long()).backward()
        components.optimizer.step()
        components.optimizer.zero_grad(set_to_none=True)
        components.scheduler.step()


class TimedLoop(TrainingLoop):
    """A training loop that times its epochs, without validation and checkpoints, in turn with those of a bare loop."""

    def __init__(
        self, trainer: Trainer, components: Components, train: Batches, validation: OneImage, record: RunRecord
    ) -> None:
        super().__init__(trainer, components, cast(TrainingLoader, train), cast(ValidationLoader, validation), record)
        self.batches = train
        self.bare = components_of(trainer)
        model = self.bare.model
        self.bare_network = torch.compile(model) if trainer.options.compile else model
        self.times: dict[str, list[float]] = {"bare loop": [], "Trainer": []}

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        losses: dict[str, float] = {}
        epochs = {
            "bare loop": lambda: bare_epoch(self.bare, self.bare_network, self.batches),
            "Trainer": lambda: losses.update(super(TimedLoop, self)._train_epoch(epoch)),
        }
        for name in list(epochs) if epoch % 2 else reversed(list(epochs)):
            self.times[name].append(seconds(epochs[name]) / STEPS)
        return losses


def compare(folder: str, logger: Logger, size: tuple[int, int], epochs: int, **options: Any) -> dict[str, float]:
    """Return the median seconds of a step of the bare loop and of the Trainer with these options."""
    trainer = Trainer(epochs=WARMUP + epochs, device="cpu", validate_every=WARMUP + epochs, **options)
    components = components_of(trainer)
    logger.begin("benchmark", None, {}, {})
    columns = trainer.metric_columns(components.loss, LABELS)
    record = RunRecord(RunFolder(folder), logger, columns, description={})
    loop = TimedLoop(trainer, components, Batches(size), OneImage(), record)
    keep_freed_memory()  # as `Trainer.fit` does
    with loop.saver.writer, loop.stop:
        loop.run()
    logger.close("finished")
    return {name: statistics.median(times[WARMUP:]) for name, times in loop.times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"), help="of the images")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"epochs of {STEPS} steps")
    parser.add_argument("--compile", action="store_true", help="compile the network in both loops")
    given = parser.parse_args()
    size = (given.size[0], given.size[1])
    network = "compiled ENet" if given.compile else "ENet"
    rows = [[f"{network}, CE + soft-IoU, AdamW", "bare loop", "Trainer", "Trainer / bare loop", "images/s"]]
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as full:
        found = {
            "default": compare(plain, NoLogger(), size, given.epochs, compile=given.compile),
            "EMA, TensorBoard, a checkpoint every 5 s": compare(
                full,
                TensorBoard(full),
                size,
                given.epochs,
                compile=given.compile,
                ema=True,
                checkpoint_minutes=5 / 60,
            ),
        }
    for name, medians in found.items():
        bare, trainer = medians["bare loop"], medians["Trainer"]
        rate = f"{BATCH_SIZE / trainer:.1f}"
        rows.append([name, milliseconds(bare), milliseconds(trainer), f"{trainer / bare:.3f}", rate])
    print(table(rows, f"{BATCH_SIZE} x {size[0]}x{size[1]}, {plural(torch.get_num_threads(), 'thread')}"))


if __name__ == "__main__":
    main()
