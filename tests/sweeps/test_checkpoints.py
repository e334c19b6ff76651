"""The best run of a sweep."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sweeps.checkpoints import best_of_sweep
from tests.comparison.folders import change_summary, make_run


@pytest.mark.parametrize(
    ("differences", "warning"),
    [
        ({"optimizer__lr": (0.1, 0.2)}, ""),
        ({"seed": (0, 1), "trainer__epochs": (3, 5)}, ""),
        ({"data__limit": (5, 6)}, "data.limit"),
        ({"data__folds": (3, 3), "data__fold": (0, 1)}, "data.fold"),
        ({"data__folds": (3, 3), "data__train_split": ("train", "trainval")}, "data.train_split"),
        ({"data__train_split": ("train", "trainval")}, ""),
        ({"loss__weight": (1, 2)}, ""),
        ({"loss__weight": (1, 2), "trainer__monitor": ("val/loss", "val/loss")}, "loss.weight"),
    ],
)
def test_a_metric_that_is_not_comparable_between_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, differences: dict[str, tuple[Any, Any]], warning: str
) -> None:
    """The best run is still chosen, with a warning that names the keys that make the choice doubtful."""
    sweep = tmp_path / "sweep"
    for number, value in enumerate((0.4, 0.3)):
        changes = {key: values[number] for key, values in differences.items()}
        metric = {"val/loss": value} if "trainer__monitor" in changes else {}
        run = make_run(sweep / str(number), value, **changes)
        add_best(run, metric)
    (sweep / "multirun.yaml").touch()
    with caplog.at_level(logging.WARNING):
        chosen = best_of_sweep(str(sweep), "checkpoint")
    assert chosen == str(sweep / ("1" if "trainer__monitor" in differences else "0"))
    named = [message.partition("differ in ")[2].partition(",")[0] for message in caplog.messages]
    assert named == ([warning] if warning else [])


def test_runs_on_different_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, data in enumerate(("camvid", "voc")):
        run = make_run(tmp_path / "sweep" / str(number), 0.5, {"model": "enet", "data": data, "loss": "ce_iou"})
        add_best(run, {})
    (tmp_path / "sweep" / "multirun.yaml").touch()
    with caplog.at_level(logging.WARNING):
        best_of_sweep(str(tmp_path / "sweep"), "checkpoint")
    assert "its runs differ in data, so val/miou" in caplog.text


def add_best(run: Path, metrics: dict[str, float]) -> None:
    """Add an empty best.pt, and metrics to the best epoch."""
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "best.pt").touch()
    best = json.loads((run / "summary.json").read_text())["best"]
    change_summary(run, best=best | metrics)
