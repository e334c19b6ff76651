"""What a step must not do: wait for the device, or keep something for ever."""

import gc
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

from config.nodes import build
from data.accumulation import Window
from data.loading import TrainingBatch
from engine.options import TrainerOptions
from engine.saving import Saver
from engine.schedules import constant
from engine.training_step import Components, TrainingStep
from losses import class_sums
from tests.conftest import ROOT
from tests.engine.small import SIZE, Net, Notes, fit
from utils.config_groups import options

aten = torch.ops.aten
# What gives a number or a shape to Python that only the device knows.
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal, aten._unique2}


class Waits(TorchDispatchMode):
    """Counts the operations that would have Python wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in WAITING:
            self.seen[str(function)] += 1
        return function(*args, **(kwargs or {}))


def batch(seed: int) -> TrainingBatch:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(3, (2, *SIZE), generator=generator, dtype=torch.uint8)
    masks[masks == 2] = 255
    return TrainingBatch(torch.randint(256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8), masks, ["a", "b"])


def node(group: str, option: str) -> Any:
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / group / f"{option}.yaml"))
    assert isinstance(config, dict)
    return config


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses read the range of the logits on CPUs only, where that waits for nothing."""
    monkeypatch.setattr(class_sums, "_shift", lambda flat: flat.amax(1).float())


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [*((loss, "adamw") for loss in options("loss")), *(("cross_entropy", name) for name in options("optimizer"))],
)
def test_a_step_does_not_wait(loss: str, optimizer: str) -> None:
    weights = {"class_weights": [1.0, 2.0]} if "class_weights" in node("loss", loss) else {}
    model = Net().train()
    of_weights = build(node("optimizer", optimizer), "optimizer", params=list(model.parameters()))
    step = TrainingStep(
        Components(model, build(node("loss", loss), "loss", **weights), of_weights, constant(of_weights, 10, 5)),
        TrainerOptions(epochs=1, grad_clip=1.0, ema=True, ema_decay=0.9),
        torch.device("cpu"),
    )
    step(Window([batch(0), batch(1)], 2), 1)  # what is made once
    with Waits() as waits:
        step(Window([batch(2), batch(3)], 2), 2)
        assert not waits.seen
        assert math.isfinite(step.running.read()["loss"])  # reading them does
        assert waits.seen


def test_nothing_grows_over_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, objects = {}, {}
    save_last = Saver.save_last

    def and_wait(saver: Saver, *arguments: Any) -> None:
        save_last(saver, *arguments)
        saver.writer.wait()

    monkeypatch.setattr(Saver, "save_last", and_wait)

    class Counting(Notes):
        def log(self, values: Any, step: int) -> None:
            if "val/miou" in values and step in (20, 40, 80):
                gc.collect()
                everything = gc.get_objects()
                tensors[step] = sum(issubclass(type(thing), torch.Tensor) for thing in everything)
                objects[step] = len(everything)

    fit(tmp_path, epochs=16, ema=True, log_every=1, logger=Counting())
    assert tensors[80] == tensors[40] == tensors[20]
    assert objects[80] - objects[40] < 8 * 60  # each of the 8 epochs adds its row of metrics.csv
