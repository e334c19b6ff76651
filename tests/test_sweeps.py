"""Sweeps, through the real command."""

import gc
import json
import os
import shutil
import signal
import subprocess
import time
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.conftest import CAN_SEARCH, ROOT, TINY, run_command, runs_in, start_command, wait_for
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table
from train_segmentation import train

SCRIPT = "train_segmentation.py"
needs_plugins = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="requirements-sweep.txt is not installed"
)
needs_optuna = pytest.mark.skipif(not CAN_SEARCH, reason="requirements-sweep.txt is not installed")


def summaries(sweep: Path) -> list[dict[str, Any]]:
    jobs = sorted((job for job in sweep.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
    return [json.loads((job / "summary.json").read_text()) for job in jobs]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.pt", weights_only=True)["model"]


def column(table: str, title: str) -> list[str]:
    """Return the cells below a title in the last table of a text that has it."""
    rows = rows_of_table(table)
    start = max(i for i, row in enumerate(rows) if title in row)
    place = rows[start].index(title)
    return [row[place] for row in rows[start + 1 :]]


def test_a_sweep_leaves_a_folder_a_job_and_survives_a_failing_one(tmp_path: Path) -> None:
    words = ["seed=0,1", "trainer.monitor=val/miou,val/nothing", "trainer.epochs=1", *TINY]
    done = run_here(train, "train", "--multirun", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (sweep,) = runs_in(tmp_path)
    assert sweep.name.endswith("_sweep")
    assert [s["status"] for s in summaries(sweep)] == ["finished", "failed", "finished", "failed"]
    assert "val/nothing" in summaries(sweep)[1]["error"]
    assert not torch.equal(weights(sweep / "0")["fullconv.weight"], weights(sweep / "2")["fullconv.weight"])
    assert column(done.stdout, "status") == ["finished", "failed", "finished", "failed"]
    assert column(done.stdout, "seed") == ["0", "0", "1", "1"]
    assert f"jobs 1, 3 failed: {summaries(sweep)[1]['error'][:60]}" in done.stdout
    assert f"--multirun sweep={sweep.relative_to(tmp_path)}" in done.stdout


def test_a_typo_in_a_sweep_leaves_no_folder(tmp_path: Path) -> None:
    done = run_here(train, "train", "--multirun", "seed=0,1", "modle=enet", cwd=tmp_path)
    assert_refused(done, "did you mean 'model'")
    assert runs_in(tmp_path) == []


def test_a_sweep_that_was_killed_runs_only_what_is_missing(tmp_path: Path) -> None:
    words, held = ["seed=0,1,2", "trainer.epochs=2", *TINY], "logger._target_=tests.holding.Holding"
    process = start_command(SCRIPT, "--multirun", *words, held, "+logger.job='1'", cwd=tmp_path)
    wait_for("held", tmp_path, process)  # after the first epoch of its second job
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (sweep,) = runs_in(tmp_path)
    assert summaries(sweep)[1]["status"] == "running" and not (sweep / "2").exists()
    first = {path: path.stat().st_mtime_ns for path in (sweep / "0").rglob("*") if path.name != "train.log"}

    (tmp_path / "go").touch()
    done = succeeded(run_here(train, "train", "--multirun", f"sweep={sweep}", held, cwd=tmp_path))
    kept = {path: path.stat().st_mtime_ns for path in first if path.is_file()}
    assert kept == {path: first[path] for path in kept} and len(kept) > 5
    assert [s["status"] for s in summaries(sweep)] == ["finished"] * 3
    assert len(summaries(sweep)[1]["resumed"]) == 1 and "resumed" not in summaries(sweep)[2]
    assert column(done.stdout, "seed") == ["0", "1", "2"]
    # Each job is seeded anew, and the killed one has forgotten nothing: as if each had run by itself.
    for seed in (1, 2):
        words = [f"seed={seed}", "trainer.epochs=2", f"name=alone{seed}", *TINY]
        succeeded(run_here(train, "train", *words, cwd=tmp_path))
        (run,) = tmp_path.glob(f"experiments/*_alone{seed}")
        expected, found = weights(run), weights(sweep / str(seed))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


@needs_plugins
@pytest.mark.slow
def test_a_sweep_in_other_processes_is_terminated_in_order(tmp_path: Path) -> None:
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1", "trainer.epochs=500", *TINY]
    process = start_command(SCRIPT, "--multirun", *words, cwd=tmp_path)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("experiments/*_sweep/*/metrics.csv"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=300) == 143
    (sweep,) = runs_in(tmp_path)
    assert [s["status"] for s in summaries(sweep)] == ["interrupted"] * 2
    assert all((job / "checkpoints" / "last.pt").exists() for job in sweep.glob("[0-9]"))


def test_ctrl_c_ends_a_sweep_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = ["seed=0,1", "trainer.epochs=500", *TINY]
    process = start_command(SCRIPT, "--multirun", *words, cwd=tmp_path, stdout=subprocess.PIPE)
    wait_for("experiments/*_sweep/0/metrics.csv", tmp_path, process)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    (sweep,) = runs_in(tmp_path)
    assert [s["status"] for s in summaries(sweep)] == ["interrupted"]
    assert column(out, "status") == ["interrupted"] and f"sweep={sweep.relative_to(tmp_path)}" in out
    assert "Traceback" not in errors


@needs_plugins
@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_isolate_failures_and_a_sweep_goes_on_with_another_one(
    tmp_path: Path, finished_run: Path, launcher: str
) -> None:
    broken = tmp_path / "weights.pt"  # mended before the sweep goes on
    broken.write_text("not weights")
    words = ["seed=0,1", f"model.weights={broken}", "trainer.epochs=1", *TINY]
    settings = [f"hydra/launcher={launcher}", *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else [])]
    done = run_command(SCRIPT, "--multirun", *settings, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (sweep,) = runs_in(tmp_path)
    assert [s["status"] for s in summaries(sweep)] == ["failed", "failed"]
    assert column(done.stdout, "status") == ["failed", "failed"]
    assert "weights.pt" in (sweep / "1" / "train.log").read_text()

    shutil.copy(finished_run / "checkpoints" / "best.pt", broken)
    done = succeeded(run_command(SCRIPT, f"sweep={sweep}", "hydra/launcher=basic", cwd=tmp_path))
    assert [s["status"] for s in summaries(sweep)] == ["finished", "finished"]
    assert f"model.weights={broken}" in summaries(sweep)[0]["overrides"]


@needs_optuna
@pytest.mark.slow
def test_optuna_seeks_the_highest_metric_and_its_study_goes_on(tmp_path: Path) -> None:
    words = [
        *("--multirun", "hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(1e-4,1e-1))"),
        *("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=lr", "hydra.sweeper.n_trials=1"),
        *("trainer.epochs=1", *TINY),
    ]
    for trials in (1, 2):
        succeeded(run_here(train, "train", *words, cwd=tmp_path))
        sweeps = runs_in(tmp_path)
        found = yaml.safe_load((sweeps[-1] / "optimization_results.yaml").read_text())
        reached = [s["best"]["val/miou"] for sweep in sweeps for s in summaries(sweep)]
        assert len(reached) == trials and found["best_value"] == pytest.approx(max(reached), rel=1e-12)


@needs_optuna
@pytest.mark.slow
def test_a_search_prunes_jobs_in_other_processes(tmp_path: Path) -> None:
    """Optuna draws 0.03 twice for the first batch, and then a rate that does not train."""
    words = ["hydra/sweeper=optuna", "optimizer.lr=0.02,0.03,1e-9", "hydra.sweeper.pruner=median"]
    words += ["hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", "hydra.sweeper.startup_trials=1"]
    words += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.monitor=val/loss", "trainer.epochs=3"]
    words += ["hydra.sweeper.warmup_epochs=2"]
    done = succeeded(run_command(SCRIPT, "--multirun", *words, *TINY, cwd=tmp_path))
    (sweep,) = runs_in(tmp_path)
    assert [s["status"] for s in summaries(sweep)] == column(done.stdout, "status")
    assert column(done.stdout, "status") == ["finished", "finished", "pruned"]
    assert column(done.stdout, "optimizer.lr") == ["0.03", "0.03", "1e-09"]
    assert [s["last"]["epoch"] for s in summaries(sweep)] == [3, 3, 2]
    assert (sweep / "2" / "checkpoints" / "last.pt").exists()
    assert "Traceback" not in done.stderr and "all 3 jobs finished, 1 of them pruned" in done.stdout
    found = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    assert found["best_params"] == {"optimizer.lr": "0.03"}


@needs_optuna
@pytest.mark.slow
def test_a_search_tries_the_same_values_when_it_goes_on(tmp_path: Path) -> None:
    words = ["hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.n_trials=3"]
    first = succeeded(run_command(SCRIPT, "--multirun", *words, "trainer.epochs=1", *TINY, cwd=tmp_path))
    (sweep,) = runs_in(tmp_path)
    before = summaries(sweep)
    (sweep / "2" / "summary.json").unlink()
    (sweep / "2" / "checkpoints" / "last.pt").unlink()
    again = succeeded(run_command(SCRIPT, "--multirun", f"sweep={sweep}", cwd=tmp_path))
    after = summaries(sweep)
    assert after[:2] == before[:2] and after[2]["best"]["val/miou"] == before[2]["best"]["val/miou"]
    assert column(again.stdout, "optimizer.lr") == column(first.stdout, "optimizer.lr")


def test_a_job_of_another_config_is_left_alone(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    (sweep / "0").mkdir(parents=True)
    record = {"hydra": {"overrides": {"task": ["seed=0,1", "trainer.epochs=1", *TINY], "hydra": []}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(record))
    (sweep / "0" / "summary.json").write_text('{"status": "finished"}')
    (sweep / "0" / "config.yaml").write_text("seed: 7\n")
    done = run_here(train, "train", "-m", f"sweep={sweep}", cwd=tmp_path)
    assert done.returncode == 1 and "seed was 7 and is now 0" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "job 0: sweep/0 was trained with another config" in done.stdout
    assert (sweep / "0" / "summary.json").read_text() == '{"status": "finished"}'
    assert summaries(sweep)[1]["status"] == "finished"  # the other one was run


STARTS = """
import datetime
import sys
from pathlib import Path

sys.path.insert(0, sys.argv.pop(1))

import hydra.core.utils

from config.current_run import output_folder
from cli.launch import launch


class Clock:  # shows the same moment to all, and has ticked when it is asked again
    asked = 0

    @classmethod
    def now(cls):
        cls.asked += 1
        return datetime.datetime(2026, 1, 2, 3, 4, 5, cls.asked - 1)


def task(cfg):
    with Path(output_folder(), "summary.json").open("x") as file:
        file.write('{"status": "finished"}')


hydra.core.utils.datetime = Clock
launch(task, "train")
"""


@pytest.mark.parametrize("flags", [[], pytest.param(["--multirun"], marks=pytest.mark.slow)])
def test_starts_in_the_same_moment_never_share_a_folder(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "start.py").write_text(STARTS)
    words = [str(tmp_path / "start.py"), str(ROOT), *flags, "logger=none"]
    started = [start_command(*words, cwd=tmp_path, light=True) for _ in range(3)]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    stamps = [int(folder.name.removeprefix("2026-01-02_03-04-05-")[:6]) for folder in runs_in(tmp_path)]
    assert stamps == list(range(stamps[0], stamps[0] + 3))  # each was turned away until a moment was free
    assert len(list(tmp_path.glob("experiments/**/summary.json"))) == 3


@pytest.mark.slow
def test_a_recipe_a_job(tmp_path: Path) -> None:
    seen = []
    words = ["--multirun", "experiment=glob(*_cityscapes)"]
    done = run_here(lambda cfg: seen.append(cfg.data.image_size), "train", *words, cwd=tmp_path)
    recipes = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*_cityscapes.yaml"))
    (sweep,) = runs_in(tmp_path)
    said = [yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()) for job in sorted(sweep.glob("[0-9]*"))]
    assert sorted(words[0] for words in said) == [f"experiment={name}" for name in recipes], done.stderr
    assert len(seen) == len(recipes)


@pytest.mark.slow
def test_a_job_leaves_no_memory_behind(tmp_path: Path) -> None:
    held: list[weakref.ref] = []

    def task(cfg: Any) -> None:
        gc.disable()  # what lives on is told apart from what is only not collected yet
        assert not any(reference() for reference in held)
        batch = torch.zeros(1000)
        circle: list[Any] = [batch]
        circle.append(circle)
        held.append(weakref.ref(batch))
        raise RuntimeError("out of memory")

    try:
        done = run_here(task, "train", "--multirun", "seed=0,1,2", cwd=tmp_path)
    finally:
        gc.enable()
    (sweep,) = runs_in(tmp_path)
    assert done.returncode == 1 and len(held) == 3
    assert [s["error"] for s in summaries(sweep)] == ["RuntimeError: out of memory"] * 3
    assert "Traceback" in (sweep / "1" / "train.log").read_text()
