"""A report stays small: what is thinned, cut or left out, and what is kept."""

from pathlib import Path

import numpy as np
import pytest

from comparison import curves, report, report_data
from tests.comparison.folders import add_figures, add_metrics, change_summary, data_of, make_run, scene
from visualization.sample_pictures import Predicted


def test_long_curves_are_thinned_and_their_times_stay_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "runs" / "a")
    add_metrics(run, {"epoch": range(1, 1001), "seconds": [2.0] * 1000})
    monkeypatch.setattr(curves, "CELLS", 200)
    (entry,) = data_of(tmp_path / "runs")["runs"]
    # One of ten; besides, the last epoch, and the best, which is the second.
    assert entry["curves"]["epoch"] == [1, 2, *range(11, 1000, 10), 1000] and entry["epochs"] == 1000
    assert all(
        seconds == 2 * epoch for epoch, seconds in zip(*map(entry["curves"].get, ("epoch", "time")), strict=True)
    )


@pytest.mark.parametrize(
    ("epochs", "validate_every"),
    [(2499, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1250, 1), (5000, 10)))],
)
def test_long_runs_stay_below_five_megabytes_with_their_validations(
    tmp_path: Path, epochs: int, validate_every: int
) -> None:
    """Twenty runs of 19 classes: nearly as many numbers as there may be, and as many epochs validated as others."""
    rng = np.random.default_rng(0)
    names = ["val/loss", "val/miou", *(f"val/iou/class {i}" for i in range(19))]
    validated = np.arange(1, epochs + 1) % validate_every == 0
    validated[-1] = True
    best = 1000  # of the epochs validated; no other picks it
    for number in range(20):
        run = make_run(tmp_path / "runs" / f"{number}x", number / 20, seed=number)
        change_summary(run, best={"epoch": best, "val/miou": number / 20})
        columns = {name: rng.random(epochs).tolist() for name in ["train/loss", "lr", "seconds"]}
        cells = {
            name: [v if ok else None for v, ok in zip(rng.random(epochs), validated, strict=True)] for name in names
        }
        add_metrics(run, {"epoch": range(1, epochs + 1), **columns, **cells})
    entries = data_of(tmp_path / "runs")["runs"]
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    for entry in entries:
        kept, shown = entry["curves"]["epoch"], entry["validations"]
        assert best in kept and best in shown["epoch"] and {kept[-1], shown["epoch"][-1]} == {epochs}
        assert None not in shown["val/miou"] and len(shown["val/miou"]) == len(shown["epoch"])
        assert len(shown["epoch"]) / validated.sum() == pytest.approx(len(kept) / epochs, rel=0.05)
    numbers = sum(len(column) for entry in entries for column in (entry["curves"] | entry["validations"]).values())
    assert numbers > curves.CELLS / 2


@pytest.mark.slow
def test_long_texts_do_not_make_a_report_large(tmp_path: Path) -> None:
    long = "out of memory at \u00fc " * 1000
    for number in range(300):
        run = make_run(tmp_path / "runs" / f"{number}x", None, seed=number, notes=long)
        change_summary(run, status="failed", error=f"{number} {long}", notes=f"{number} {long}", name=long)
    data = data_of(tmp_path / "runs")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert all(run["error"].startswith(f"{run['values']['seed']} out of memory at") for run in data["runs"])
    assert all(200 < len(run["error"]) < 1000 and run["error"].endswith("\u2026") for run in data["runs"])


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


def test_confusion_matrices_of_the_first_runs_only_where_all_would_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, miou in (("a", 0.6), ("b", 0.5), ("c", 0.4)):
        add_figures(make_run(tmp_path / "runs" / name, miou), [])
    monkeypatch.setattr(report_data, "CELLS", 18)  # two of 3 x 3
    entries = data_of(tmp_path / "runs")["runs"]
    assert [entry["confusion"] is not None for entry in entries] == [True, True, False]
    assert [entry["confusion_left_out"] for entry in entries] == [False, False, True]
