"""A training that takes a second: a small network on noise."""

import itertools
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.augmentation import Augmentation
from data.labels import LabelSet
from data.loading import TrainingLoader, ValidationLoader
from data.samples import Sample, SegmentationDataset
from engine.checkpoint import load_checkpoint
from engine.distillation import Distillation
from engine.loop import TrainingLoop
from engine.pictures import Pictures
from engine.randomness import seed_everything
from engine.run_record import RunRecord
from engine.schedules import poly
from engine.trainer import Trainer
from engine.training_step import Components
from losses.combinations import ce_iou
from models.encoders import Encoder
from utils.loggers import NoLogger
from utils.run_folder import RunFolder

SIZE = (32, 32)


class Halves(SegmentationDataset):
    """Noise whose left half (class 0) is darker than its right half (class 1)."""

    labels = LabelSet(("left", "right"), ((0, 0, 0), (255, 255, 255)))

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        mask = np.zeros(SIZE, np.uint8)
        mask[:, 16:] = 1
        noise = np.random.default_rng(index).integers(0, 100, (*SIZE, 3))
        return Sample((noise + mask[..., None] * 120).astype(np.uint8), mask, f"sample {index}")

    def name(self, index: int) -> str:
        return f"sample {index}"

    def size(self, index: int) -> tuple[int, int]:
        return SIZE


class Net(nn.Module):
    """A convolution, batch norm and dropout: one layer of each kind that has state or is random."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Features(Encoder):
    """A convolution with batch norm and dropout."""

    channels, strides = (8,), (1,)

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]

    def load_weights(self, weights: str) -> None:
        raise NotImplementedError


class Encoded(nn.Module):
    """A network with an encoder, of any float type."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder, self.classifier = Features(dropout), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.encoder(images.to(self.classifier.weight.dtype))[0])


def at_step(
    step: int, act: Callable[[Tensor], Tensor], network: Callable[[], nn.Module] = Net
) -> Callable[[], nn.Module]:
    """Return what makes a network whose logits go through `act` in one step of the training, counted from 1."""

    def make() -> nn.Module:
        model, steps = network(), itertools.count(1)

        def hook(module: nn.Module, _: Any, logits: Tensor) -> Tensor:
            return act(logits) if module.training and next(steps) == step else logits

        model.register_forward_hook(hook)
        return model

    return make


def interrupted(logits: Tensor) -> Tensor:
    """Get a Ctrl-C."""
    signal.raise_signal(signal.SIGINT)
    return logits


def exploding(logits: Tensor) -> Tensor:
    """Return infinite logits."""
    return logits * math.inf


def with_infinite_gradient(logits: Tensor) -> Tensor:
    """Let the gradient explode, as if float16 could not hold it."""
    logits.register_hook(exploding)
    return logits


class Notes(NoLogger):
    """A logger that keeps everything in memory."""

    pictures = True

    def __init__(self) -> None:
        super().__init__()
        self.values: list[tuple[int, dict[str, float]]] = []
        self.images: list[tuple[int, np.ndarray]] = []

    def log(self, values: Any, step: int) -> None:
        self.values.append((step, dict(values)))

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        self.images.append((step, image))


def fit(
    folder: Path,
    network: Callable[[], nn.Module] = Net,
    resume: bool = False,
    logger: Any = None,
    pictures: Pictures | None = None,
    distillation: Distillation | None = None,
    **options: Any,
) -> TrainingLoop:
    """Train a small network on 10 samples, in batches of 2; return the loop that has run."""
    options = {"epochs": 2, "device": "cpu", **options}
    trainer = Trainer(**options)
    seed_everything(0)
    folder.mkdir(exist_ok=True)
    run = RunFolder(folder)
    model = trainer.prepare(network())
    loss = trainer.prepare(ce_iou({"cross_entropy": 1.0, "soft_iou": 1.0}))
    train = TrainingLoader(Halves(10), Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=0)
    steps = trainer.steps_per_epoch(train)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = poly(optimizer, steps * trainer.options.epochs, steps)
    validation = ValidationLoader(Halves(4), batch_size=3, num_workers=0)
    description = {"config": {}, "image_size": list(SIZE)}
    columns = trainer.metric_columns(loss, Halves.labels, distils=distillation is not None)
    record = RunRecord(run, logger or NoLogger(), columns, description, pictures)
    checkpoint = load_checkpoint(run.last) if resume else None
    components = Components(model, loss, optimizer, scheduler, distillation)
    return trainer.fit(components, train, validation, record, checkpoint)


def same_run(a: Path, b: Path) -> bool:
    """Return whether two runs have equal metrics, and ended with bitwise equal weights and optimizer state."""
    ends, rows = [], []
    for folder in (a, b):
        last = load_checkpoint(folder / "checkpoints" / "last.pt")
        training = last["training"]
        moments = [tensor for state in training["optimizer"]["state"].values() for tensor in state.values()]
        ends.append([*last["model"].values(), *(training["average"] or {}).values(), *moments])
        clocks = ("seconds", "images_per_second")
        rows.append([{k: v for k, v in row.items() if k not in clocks} for row in RunFolder(folder).read_rows()])
    return rows[0] == rows[1] and all(torch.equal(x, y) for x, y in zip(*ends, strict=True))
