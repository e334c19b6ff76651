"""What `benchmarks.ablation` trains, keeps and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import ablation
from tests.benchmarks.test_results import row


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ablation, "ROOT", tmp_path)
    monkeypatch.setattr(ablation, "STORED", tmp_path / "ablation.json")
    return tmp_path


def make_run(root: Path, name: str, miou: float, status: str = "finished", seed: int = 0) -> Path:
    folder = root / "experiments" / f"2026-01-01_00-00-00-000000_{name}"
    folder.mkdir(parents=True)
    summary = {
        "status": status,
        "seed": seed,
        "seconds": 90,
        "parameters": 361_000,
        "macs": 1e9,
        "environment": {"threads": 1},
        "last": {"val/miou": miou},
        "notes": "private",
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_a_change_is_trained_once_and_an_interrupted_one_goes_on(root: Path) -> None:
    words = ablation.command("enet", "label smoothing", 1, "camvid")
    assert words is not None
    assert {"experiment=camvid_ablation", "model=enet", "loss.label_smoothing=0.1", "seed=1"} < set(words)
    folder = make_run(root, "ablation-enet-label_smoothing-1", 0.3, "interrupted")
    words = ablation.command("enet", "label smoothing", 1, "camvid")
    assert words is not None and words[2:] == [f"resume={folder}"]
    make_run(root, "ablation-enet-EMA-1", 0.3)
    assert ablation.command("enet", "EMA", 1, "camvid") is None


def test_a_teacher_is_trained_before_its_students(root: Path) -> None:
    with pytest.raises(SystemExit, match="--only scale/S2"):
        ablation.command("enet", "distillation", 0, "camvid")
    teacher = make_run(root, "ablation-scale-S2-0", 0.5)
    words = ablation.command("enet", "distillation", 0, "camvid")
    assert words is not None and f"distill.teacher={teacher}" in words


def test_the_page_has_means_and_the_differences_of_each_seed(root: Path) -> None:
    for seed, baseline, smoothed in ((0, 0.20, 0.24), (1, 0.30, 0.28)):
        make_run(root, f"ablation-enet-baseline-{seed}", baseline, seed=seed)
        make_run(root, f"ablation-enet-label_smoothing-{seed}", smoothed, seed=seed)
    make_run(root, "ablation-enet-EMA-0", 0.9, "running")
    ablation.keep()
    ablation.keep()  # what is stored stays, and is stored once
    assert len(ablation.read()) == 4 and "private" not in ablation.STORED.read_text()
    page = ablation.page(ablation.read())
    # The standard deviation of 20 and 30 is sqrt(5**2 + 5**2) = 7.07, of 24 and 28 sqrt(2**2 + 2**2) = 2.83.
    assert row(page, "baseline") == ["baseline", "", "25.0 ± 7.1", "", "2", "0.36 M", "1.00 G"]
    cells = row(page, "label smoothing")
    assert cells[1:] == ["`loss.label_smoothing=0.1`", "26.0 ± 2.8", "+1.0 (+4.0, -2.0)", "2", "0.36 M", "1.00 G"]
    assert "EMA |" not in page and "## ESPNet" not in page


def test_the_page_of_this_project_is_that_of_its_runs() -> None:
    assert ablation.PAGE.read_text() == ablation.page(ablation.read())
