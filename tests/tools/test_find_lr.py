"""The learning-rate range test, as a user asks for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from data.accumulation import Window
from data.loading import EpochBatches, TrainingBatch
from data.resized import ResizedSamples
from data.synthetic import Synthetic
from engine.normalization import IMAGENET
from engine.running_loss import NonFiniteLoss, RunningLoss
from engine.training_step import TrainingStep
from models.enet import ENet
from tests.conftest import ROOT, TINY
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table
from tools.find_lr import endless_windows, find, show
from utils.errors import UserError

WORDS = [*(word for word in TINY if word != "logger=none"), "repeats=1"]


def find_here(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(find, "find_lr", *WORDS, *words, cwd=cwd)


def printed(done: subprocess.CompletedProcess) -> dict[str, list[str]]:
    """The cells of each row of the table, by the first."""
    return {row[0]: row[1:] for row in rows_of_table(done.stderr) if len(row) == 3}


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[float], list[str]]]:
    """The rate of each parameter group, and the names of the samples, in each optimiser step from now on."""
    seen: list[tuple[list[float], list[str]]] = []
    take = TrainingStep.__call__

    def spy(self: TrainingStep, window: Window, number: int) -> object:
        names = [name for batch in window.batches for name in batch.names]
        seen.append(([group["lr"] for group in self.optimizer.param_groups], names))
        return take(self, window, number)

    monkeypatch.setattr(TrainingStep, "__call__", spy)
    return seen


@pytest.fixture
def losses_drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The losses of the pictures from now on, which are empty ones."""
    seen: list[list[float]] = []

    def spy(rates: list[float], losses: list[float], *rest: Any) -> None:
        seen.append(losses)
        Image.new("RGB", (8, 8)).save(rest[-1])

    monkeypatch.setattr("visualization.figures.draw_range_test", spy)
    return seen


def test_a_rate_is_suggested(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "range (1).png"
    words = [*WORDS, "optimizer.lr=0.5", "steps=50", "min_lr=1e-5", f"output={path}"]
    before = set(ROOT.glob("[!._]*"))  # tests that run at the same time may make caches
    done = succeeded(find_here(*words, cwd=ROOT))
    assert set(ROOT.glob("[!._]*")) == before and list(tmp_path.rglob("*.*")) == [path]
    table = printed(done)
    assert "50 of 50 steps" in table and "+ENet, AdamW, data=synthetic-" in done.stderr
    assert table["configured"] == ["0.5", "optimizer.lr=0.5"]
    for row in ("suggested (steepest fall)", "rate of the lowest loss / 10"):
        rate, word = table[row]
        assert word == f"optimizer.lr={rate}" and 1e-5 < float(rate) < 0.5
    assert done.stderr.endswith(f"wrote {path}\n") and "warning" not in done.stderr
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert ((red > 190) & (green < 60) & (blue < 60)).any(0).sum() >= 2  # the line of the suggestion
    assert (blue - red > 100).any(0).mean() > 0.7  # the curve, over all rates


def test_rates_batches_and_losses(
    tmp_path: Path, steps_taken: list[tuple[list[float], list[str]]], losses_drawn: list[list[float]]
) -> None:
    """A geometric series in all parameter groups, epochs as in training, and the same numbers each time."""
    words = ["min_lr=1e-4", "max_lr=0.1", "steps=10", "seed=5", "data.limit=6", "data.batch_size=2"]
    words += ["trainer.accumulation_steps=2", "trainer.decay_norms=false"]
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "find_lr.png").write_text("an older one")
    for _ in range(2):
        succeeded(find_here(*words, cwd=tmp_path))
    assert Image.open(tmp_path / "outputs" / "find_lr.png").size == (8, 8)  # in place of the older one
    assert steps_taken[:10] == steps_taken[10:] and losses_drawn[0] == losses_drawn[1]
    assert len(losses_drawn[0]) == 10 and len(set(losses_drawn[0])) == 10
    for i, (rates, _) in enumerate(steps_taken[:10]):
        assert rates == pytest.approx([1e-4 * 1000 ** (i / 9)] * 2, rel=1e-9)
    names = [step_names for _, step_names in steps_taken[:10]]
    assert [len(step_names) for step_names in names] == [4, 2] * 5
    for epoch in range(5):
        order = np.random.default_rng((5, epoch)).permutation(6)
        assert names[2 * epoch] + names[2 * epoch + 1] == [f"train/{i:05}" for i in order]


def test_the_losses_are_those_of_the_real_network(tmp_path: Path, losses_drawn: list[list[float]]) -> None:
    """With rates too small to change a weight, each is that of the new network on a batch."""
    words = ["loss=cross_entropy", "loss.class_weights=null", "augmentation=none", "seed=3", "steps=10"]
    words += ["min_lr=1e-30", "max_lr=1e-29", "model.dropout=0.0", "model.encoder_dropout=0.0"]
    assert find_here(*words, cwd=tmp_path).returncode == 0
    torch.manual_seed(3)
    model = ENet(num_classes=9, dropout=0.0, encoder_dropout=0.0)
    samples = ResizedSamples(Synthetic((32, 32), "train"), (32, 32), masks=True, limit=8)
    expected = []
    for epoch in range(5):
        order = np.random.default_rng((3, epoch)).permutation(8)
        for batch in (order[:4], order[4:]):
            images = torch.stack([torch.from_numpy(samples[i].image).permute(2, 0, 1) for i in batch])
            masks = torch.stack([torch.from_numpy(samples[i].mask).long() for i in batch])
            expected.append(functional.cross_entropy(model(IMAGENET(images)), masks, ignore_index=255).item())
    assert losses_drawn[0] == pytest.approx(expected, rel=1e-4)


def test_each_repeat_is_reported_and_the_weights_of_classes_once(tmp_path: Path) -> None:
    done = succeeded(find_here("repeats=2", "steps=10", "loss.class_weights=enet", cwd=tmp_path))
    assert done.stderr.count("class weights: ") == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("run ")]
    assert lines == ["run 1 of 2 done", "run 2 of 2 done"]


def test_steps_without_a_labelled_pixel_are_left_out() -> None:
    """They have no loss, and a loss of 0 would be the lowest of all."""
    batches = MagicMock(order=EpochBatches(5, 1, seed=0))
    masks = [torch.full((1, 2, 2), value, dtype=torch.uint8) for value in (255, 0, 255, 255, 1)]
    batches.__iter__.side_effect = lambda: iter([TrainingBatch(torch.zeros(1, 3, 2, 2), m, [""]) for m in masks])
    windows = endless_windows(batches, 2)
    found = [[int(batch.masks[0, 0, 0]) for batch in next(windows).batches] for _ in range(4)]
    assert found == [[255, 0], [1], [255, 0], [1]]
    masks = masks[:1]
    with pytest.raises(UserError, match="no mask of the training split has a labelled pixel"):
        list(endless_windows(batches, 2))


def test_divergence_ends_the_test(tmp_path: Path, losses_drawn: list[list[float]]) -> None:
    done = succeeded(find_here("optimizer=sgd", "max_lr=1e12", "steps=40", cwd=tmp_path))
    (losses,) = losses_drawn
    assert 10 < len(losses) < 40 and f"{len(losses)} of 40 steps: diverged" in printed(done)
    assert (tmp_path / "outputs" / "find_lr.png").is_file()


@pytest.mark.parametrize("good", [0, 1, 5])
def test_a_loss_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses_drawn: list[list[float]], good: int
) -> None:
    """Ends the test, unless no rate can have been the reason."""
    read, count = RunningLoss.read, 0

    def reading(self: RunningLoss) -> dict[str, float]:
        nonlocal count
        count += 1
        if count > good:
            raise NonFiniteLoss("the loss is not finite")
        return read(self)

    monkeypatch.setattr(RunningLoss, "read", reading)
    done = find_here("steps=10", cwd=tmp_path)
    if good == 0:
        assert done.returncode == 2 and done.stderr.endswith("error: the loss is not finite\n"), done.stderr
        assert losses_drawn == [] and not list(tmp_path.rglob("*.png"))
        return
    assert done.returncode == 0, done.stderr
    assert len(losses_drawn[0]) == good and f"{good} of 10 steps: diverged" in printed(done)


def test_no_suggestion(tmp_path: Path) -> None:
    done = succeeded(find_here("min_lr=1e-12", "max_lr=1e-10", "steps=12", "optimizer=sgd", cwd=tmp_path))
    assert list(printed(done)) == ["12 of 12 steps", "configured"]
    assert re.search(
        r"^warning: no suggestion: .* max_lr=1e-08, or more steps=24, or more repeats=4$", done.stderr, re.MULTILINE
    )
    assert [path.name for path in tmp_path.rglob("*.*")] == ["find_lr.png"]


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["min_lr=0.1", "max_lr=0.1"], ["min_lr=0.1", "less than max_lr=0.1"]),
        (["min_lr=2"], ["min_lr=2", "less than max_lr=1.0"]),
        (["min_lr=0"], ["min_lr=0", "greater than 0"]),
        (["max_lr=inf"], ["max_lr=inf", "finite"]),
        (["max_lr=high"], ["max_lr=high", "a number"]),
        (["steps=9"], ["steps=9", "at least 10"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
        (["output=range.jpg"], ["output=range.jpg", ".png"]),
        (["output=."], ["output=.", ".png"]),
        (["output=/proc/nowhere.png"], ["/proc: nothing can be written there"]),
        (["stps=20"], ["stps: unknown key", "did you mean 'steps'?"]),
        (["model=ennet"], ["model=ennet", "did you mean 'enet'?"]),
        (["+optimizer.momentm=0.9"], ["optimizer.momentm"]),
        (["trainer.amp=fp8"], ["trainer.amp=fp8"]),
        (["data=camvid", "data.root=nowhere"], ["no folder nowhere/train"]),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(find_here(*words, cwd=tmp_path), *fragments)
    assert list(tmp_path.iterdir()) == []


def test_torchrun_is_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert_refused(find_here(cwd=tmp_path), "torchrun is for one run of train_segmentation.py")


@pytest.mark.slow
def test_several_runs_are_averaged(
    tmp_path: Path, steps_taken: list[tuple[list[float], list[str]]], losses_drawn: list[list[float]]
) -> None:
    words = ["steps=10", "min_lr=1e-4", "max_lr=0.1"]
    for more in ("repeats=1", "repeats=2", "repeats=1 seed=1"):
        succeeded(find_here(*words, *more.split(), cwd=tmp_path))
    first, both, second = losses_drawn
    assert first != second and both == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    assert len(steps_taken) == 40


def test_runs_that_agree_have_no_range(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rates = np.geomspace(1e-6, 1, 100).tolist()
    falling = [3 - 2 / (1 + (0.01 / rate) ** 2) + (rate > 0.1) * 5 * rate for rate in rates]
    with caplog.at_level("INFO"):
        show(rates, [falling, falling], 0.004, "a test", tmp_path / "find_lr.png")
    assert "suggested (steepest fall)" in caplog.text and "from other runs" not in caplog.text
    later = falling[:1] * 15 + falling[:-15]
    with caplog.at_level("INFO"):
        show(rates, [falling, later], 0.004, "a test", tmp_path / "find_lr.png")
    assert "from other runs" in caplog.text
