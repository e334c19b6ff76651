"""Values that the tests of loggers log."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.conftest import TINY
from utils.loggers import Logger

WORDS = tuple(word for word in TINY if word != "logger=none")
CONFIG: dict[str, Any] = {
    "seed": 3,
    "name": "left out",
    "model": {"_target_": "models.enet.ENet", "dropout": 0.25, "weights": None},
    "data": {"image_size": [32, 64], "cache": "none"},
    "augmentation": {"transforms": [{"p": 1}]},
    "trainer": {"ema": True},
    "logger": {"project": "left out"},
}
OPTIONS = {"model": "enet", "data": "camvid", "experiment": None}
HYPERPARAMETERS = {
    "model": "enet",
    "data": "camvid",
    "seed": 3,
    "model.dropout": 0.25,
    "data.image_size": "[32, 64]",
    "data.cache": "none",
    "trainer.ema": True,
}
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
LOGGED = [
    (1, {"step/loss": 2.0, "step/lr": 0.5}),
    (2, {"step/loss": 1.5, "step/lr": 0.25}),
    (2, {"lr": 0.25, "val/iou/sky": 0.125}),
    (3, {"step/loss": 1.25, "step/lr": 0.125}),
    (4, {"step/loss": 1.0, "step/lr": 0.0625}),
    (4, {"lr": 0.0625, "val/iou/sky": 0.75}),
]


def interrupted_and_resumed(first: Logger, second: Callable[[], Logger]) -> None:
    """Log steps 1 to 3, then those of a run that was resumed after step 2, with the logger that `second` makes."""
    first.begin("a run", "a remark", CONFIG, OPTIONS)
    for step, values in LOGGED[:3]:
        first.log(values, step)
    first.picture("predictions", PICTURE, 2)
    first.log(LOGGED[3][1], 3)
    first.close("interrupted")
    again = second()
    again.begin("a run", "a remark", {**CONFIG, "seed": 4}, OPTIONS)
    for step, values in LOGGED[3:]:
        again.log(values, step)
    again.picture("predictions", 255 - PICTURE, 4)
    again.close("finished")


def series() -> dict[str, list[tuple[int, float]]]:
    """Return what an uninterrupted run logs: (step, value) by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for step, values in LOGGED:
        for name, value in values.items():
            found.setdefault(name, []).append((step, value))
    return found
