"""A report stays small: what is cut or left out, and what is kept."""

from pathlib import Path

import numpy as np
import pytest

from comparison import report
from tests.comparison.folders import add_figures, add_metrics, change_summary, data_of, make_run, scene
from visualization.sample_pictures import Predicted


@pytest.mark.slow
def test_long_texts_do_not_make_a_report_large(tmp_path: Path) -> None:
    long = "out of memory at \u00fc " * 1000
    for number in range(300):
        run = make_run(tmp_path / "runs" / f"{number}x", None, seed=number, notes=long)
        change_summary(run, status="failed", error=f"{number} {long}", notes=f"{number} {long}", name=long)
    data = data_of(tmp_path / "runs")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert all(run["error"].startswith(f"{run['values']['seed']} out of memory at") for run in data["runs"])
    assert all(200 < len(run["error"]) <= 2000 and run["error"].endswith("\u2026") for run in data["runs"])


@pytest.mark.slow
def test_twenty_runs_of_the_usual_length_stay_below_five_megabytes(tmp_path: Path) -> None:
    """Cityscapes at half its size: 19 classes, 300 epochs, four samples each with predictions of their own."""
    rng = np.random.default_rng(0)
    blobs = rng.random((4, 20, 40)).repeat(12, 1).repeat(12, 2)
    truths = (blobs * 3).astype(np.uint8)
    photos = [(blob[..., None] * 200 + rng.integers(0, 30, (240, 480, 3))).astype(np.uint8) for blob in blobs]
    names = [f"val/iou/class {i}" for i in range(19)]
    for number in range(20):
        run = make_run(tmp_path / "runs" / f"{number}x", number / 20, seed=number)
        columns = {name: rng.random(300).tolist() for name in ["train/loss", "val/miou", "lr", *names, "seconds"]}
        add_metrics(run, {"epoch": range(1, 301), **columns})
        samples = []
        for i, truth in enumerate(truths):
            prediction = np.where(rng.random(truth.shape) < 0.04, rng.integers(0, 3, truth.shape), truth)
            samples.append(Predicted(i, f"frankfurt_{i}", photos[i], truth, prediction.astype(np.uint8)))
        add_figures(run, samples)
    data = data_of(tmp_path / "runs")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert len(data["samples"]) == 4
    assert [len(run["predictions"]) for run in data["runs"]] == [4] * 20
    assert all(len(run["curves"]["epoch"]) == 300 for run in data["runs"])


def test_pictures_of_the_first_runs_only_where_all_would_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        add_figures(make_run(tmp_path / "runs" / f"{number}x", 0.9 - number / 10), [scene(1, number), scene(2, number)])
    pictures = data_of(tmp_path / "runs")["pictures"]
    assert len(pictures) == 4 + 8
    monkeypatch.setattr(report, "SIZE", 0)
    monkeypatch.setattr(report, "LEAST", sum(map(len, pictures)) - 1)
    entries = data_of(tmp_path / "runs")["runs"]
    assert [len(entry["predictions"]) for entry in entries] == [2, 2, 2, 0]
    assert [entry["pictures_left_out"] for entry in entries] == [False, False, False, True]
