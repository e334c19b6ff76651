"""The search with Optuna: its space, what it draws, how it goes on, and which jobs it prunes."""

from __future__ import annotations

import json
import math
import statistics
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig

from config.current_run import output_folder
from config.nodes import plain
from tests.conftest import CAN_SEARCH, runs_in
from tests.in_process import assert_refused, run_here, succeeded
from utils.errors import Pruned, UserError
from utils.run_folder import RunFolder

pytestmark = pytest.mark.skipif(not CAN_SEARCH, reason="requirements-sweep.txt is not installed")
SEARCH = ("--multirun", "hydra/sweeper=optuna", "logger=none")
RATE = "optimizer.lr=tag(log,interval(1e-4,1e-1))"


def test_the_grammar_of_hydra_spans_the_space() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from sweeps.search_space import space_of

    words = {
        "a=x,y": CategoricalDistribution(["x", "y"]),
        "b=shuffle(choice(2,[1,2],'a b'))": CategoricalDistribution(["2", "[1,2]", r"a\ b"]),
        "c=range(1,5)": IntDistribution(1, 4),
        "d=range(10,1,-3)": IntDistribution(4, 10, step=3),
        "e=range(0.5,2,0.5)": FloatDistribution(0.5, 1.5, step=0.5),
        "f=interval(1,5)": FloatDistribution(1, 5),
        "g=tag(log,interval(1e-4,1e-1))": FloatDistribution(1e-4, 1e-1, log=True),
        "h=int(interval(1,5))": IntDistribution(1, 5),
        "i=tag(int,log,interval(1,64))": IntDistribution(1, 64, log=True),
        "++j.k=1,2": CategoricalDistribution(["1", "2"]),
    }
    space = space_of(["seed=3", *words, "name='x,y'"])
    assert space.fixed == ["seed=3", "name='x,y'"]
    assert list(space.distributions.values()) == list(words.values())
    assert space.words({"j.k": "2", "a": "x"}) == ["seed=3", "name='x,y'", "++j.k=2", "a=x"]


def quality(rate: float) -> float:
    """The metric of a job: highest at a rate of 0.01."""
    return 1 - (math.log10(rate) + 2) ** 2 / 4


def finish(value: float, status: str = "finished", monitor: str = "val/miou") -> None:
    RunFolder(output_folder()).update_summary(status=status, best={"epoch": 1, monitor: value})


def rates(sweep: Path) -> list[float]:
    jobs = sorted((job for job in sweep.iterdir() if job.name.isdigit()), key=lambda job: int(job.name))
    said = [yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()) for job in jobs]
    return [float(word.partition("=")[2]) for words in said for word in words if word.startswith("optimizer.lr=")]


def test_it_finds_the_best_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    def task(cfg: Any) -> None:
        finish(quality(cfg.optimizer.lr))

    def interrupted(cfg: Any) -> None:
        if output_folder().name == "10":
            raise KeyboardInterrupt
        task(cfg)

    words = [*SEARCH, RATE, "hydra.sweeper.n_trials=12"]
    assert run_here(interrupted, "train", *words, cwd=tmp_path).returncode == 130
    (sweep,) = runs_in(tmp_path)
    before = rates(sweep)
    assert len(before) == 11
    done = succeeded(run_here(task, "train", "--multirun", f"sweep={sweep}", "hydra.sweeper.n_trials=13", cwd=tmp_path))
    assert "all 13 jobs finished" in done.stdout
    drawn = rates(sweep)
    assert drawn[:11] == before and len(set(drawn)) == 13 and all(1e-4 <= rate <= 1e-1 for rate in drawn)
    found = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    assert found["best_value"] == pytest.approx(max(map(quality, drawn)), rel=1e-12)
    assert quality(found["best_params"]["optimizer.lr"]) == pytest.approx(found["best_value"])
    # The model of the results so far: later rates are closer to the best than the first ten, which are random.
    assert statistics.mean(map(quality, drawn[10:])) > statistics.mean(map(quality, drawn[:10]))


def test_a_search_with_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        (tmp_path / str(number)).mkdir()
        words = [*SEARCH, RATE, "hydra.sweeper.n_trials=1", f"hydra.sweeper.seed={seed}"]
        run_here(lambda cfg: finish(0.5), "train", *words, cwd=tmp_path / str(number))
        (sweep,) = runs_in(tmp_path / str(number))
        drawn += rates(sweep)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("words", "best"),
    [
        pytest.param(["trainer.monitor=val/loss"], min, marks=pytest.mark.slow),
        ([], max),
        pytest.param(["hydra.sweeper.direction=minimize"], min, marks=pytest.mark.slow),
    ],
)
def test_the_direction_is_that_of_the_metric(tmp_path: Path, words: list[str], best: Any) -> None:
    monitor = "val/loss" if words and "loss" in words[0] else "val/miou"
    task = [*SEARCH, "seed=range(0,5)", "hydra.sweeper.n_trials=3", *words]
    succeeded(run_here(lambda cfg: finish(float(cfg.seed), monitor=monitor), "train", *task, cwd=tmp_path))
    (sweep,) = runs_in(tmp_path)
    seeds = [yaml.safe_load((job / ".hydra" / "config.yaml").read_text())["seed"] for job in sweep.glob("[0-9]*")]
    assert yaml.safe_load((sweep / "optimization_results.yaml").read_text())["best_value"] == best(seeds)


def test_a_failed_job_does_not_end_it_and_is_tried_again(tmp_path: Path) -> None:
    broken = {"1", "3"}

    def task(cfg: Any) -> None:
        if output_folder().name in broken:
            raise RuntimeError("oh")
        finish(math.nan if output_folder().name == "2" else 0.5)

    done = run_here(task, "train", *SEARCH, RATE, "hydra.sweeper.n_trials=5", cwd=tmp_path)
    (sweep,) = runs_in(tmp_path)
    drawn = rates(sweep)
    assert done.returncode == 1 and len(drawn) == 5 and "jobs 1, 3 failed: RuntimeError: oh" in done.stdout
    broken.clear()
    done = run_here(task, "train", "--multirun", f"sweep={sweep}", cwd=tmp_path)
    assert done.returncode == 0 and rates(sweep) == drawn, done.stderr


@pytest.mark.slow
def test_jobs_of_a_batch_are_started_together(tmp_path: Path) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    sizes = []
    launch = BasicLauncher.launch

    def spy(self: Any, job_overrides: Any, initial_job_idx: int) -> Any:
        sizes.append((initial_job_idx, len(job_overrides)))
        return launch(self, job_overrides, initial_job_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BasicLauncher, "launch", spy)
        words = [*SEARCH, RATE, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2"]
        done = run_here(lambda cfg: finish(0.5), "train", *words, cwd=tmp_path)
    assert done.returncode == 0 and sizes == [(0, 2), (2, 2), (4, 1)], done.stderr


def simulated(cfg: Any) -> None:
    """Train six epochs whose metric rises to the rate of the job times 10."""
    from sweeps.search import pruning

    folder = RunFolder(output_folder())
    is_pruned = pruning(plain(HydraConfig.get().sweeper), folder.path, "val/miou", 6)
    assert is_pruned is not None
    for epoch in range(1, 7):
        value = 10 * cfg.optimizer.lr * epoch / 6
        folder.update_summary(epochs=epoch)
        if is_pruned(epoch, value):
            finish(value, "pruned")
            raise Pruned("pruned")
    finish(value)


def test_jobs_below_the_median_are_pruned(tmp_path: Path) -> None:
    words = [*SEARCH, "optimizer.lr=interval(0.001,0.1)", "hydra.sweeper.n_trials=7", "hydra.sweeper.sampler=random"]
    words += ["hydra.sweeper.pruner=median", "hydra.sweeper.startup_trials=3", "hydra.sweeper.warmup_epochs=2"]
    done = succeeded(run_here(simulated, "train", *words, cwd=tmp_path))
    (sweep,) = runs_in(tmp_path)
    finished: list[float] = []
    for number, rate in enumerate(rates(sweep)):
        summary = json.loads((sweep / str(number) / "summary.json").read_text())
        # All curves rise alike, so that epoch 2 decides: the last of the warm-up.
        worse = len(finished) >= 3 and rate < statistics.median(finished)
        assert (summary["status"], summary["epochs"]) == (("pruned", 2) if worse else ("finished", 6))
        if not worse:
            finished.append(rate)
    pruned = 7 - len(finished)
    assert pruned > 0 and f"all 7 jobs finished, {pruned} of them pruned" in done.stdout
    assert done.stdout.count(" pruned |") == pruned and done.stdout.count(" finished |") == len(finished)
    found = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    assert found["best_params"]["optimizer.lr"] == max(rates(sweep))


@pytest.mark.slow
def test_successive_halving(tmp_path: Path) -> None:
    words = [*SEARCH, "optimizer.lr=interval(0.001,0.1)", "hydra.sweeper.n_trials=7", "hydra.sweeper.sampler=random"]
    words += ["hydra.sweeper.pruner=halving", "hydra.sweeper.reduction_factor=2"]
    succeeded(run_here(simulated, "train", *words, cwd=tmp_path))
    (sweep,) = runs_in(tmp_path)
    seen: list[float] = []
    for number, rate in enumerate(rates(sweep)):
        summary = json.loads((sweep / str(number) / "summary.json").read_text())
        seen.append(rate)  # at epoch 1, the better half of those that have reached it go on
        better = sum(other > rate for other in seen) < max(len(seen) // 2, 1)
        assert (summary["epochs"] > 1) == better, (number, rate)


OPTIONS = {"direction": None, "sampler": "random", "seed": 0, "n_jobs": 1, "storage": None, "study_name": None}


@pytest.mark.parametrize("pruner", ["median", "halving"])
@pytest.mark.parametrize("warmup", [1, 3])
def test_warmup_is_the_same_for_both_pruners(tmp_path: Path, pruner: str, warmup: int) -> None:
    """Of jobs with 0.9 at every epoch, then one with 0.1: it is below the median, and not in the better half."""
    from sweeps.search import open_study

    pruning = {"pruner": pruner, "warmup_epochs": warmup, "startup_trials": 2, "reduction_factor": 2}
    study = open_study(OPTIONS | pruning, tmp_path, "maximize")
    for _ in range(3):
        trial = study.ask()
        for epoch in range(1, 7):
            trial.report(0.9, epoch)
            trial.should_prune()
        study.tell(trial, 0.9)
    bad = study.ask()
    ended = []
    for epoch in range(1, 7):
        bad.report(0.1, epoch)
        ended += [epoch] if bad.should_prune() else []
    assert ended[0] == warmup


def _begin_study(barrier: Any, answers: Any, database: Path) -> None:
    from sweeps.search import open_study

    options = OPTIONS | {"storage": f"sqlite:///{database}", "study_name": "s", "pruner": "none", "warmup_epochs": 1}
    barrier.wait()
    try:
        answers.put(open_study(options, database.parent, "maximize")._study_id)
    except UserError as error:
        answers.put(str(error))


def test_searches_that_create_one_database_at_once(tmp_path: Path) -> None:
    import optuna.storages  # noqa: F401  (before the fork, so that the processes create it within milliseconds)

    import sweeps.search  # noqa: F401

    context = get_context("fork")
    barrier, answers = context.Barrier(3), context.SimpleQueue()
    arguments = (barrier, answers, tmp_path / "s.db")
    processes = [context.Process(target=_begin_study, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert [answers.get() for _ in processes] == [1, 1, 1]
    for process in processes:
        process.join()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_two_machines_that_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    """Between any two steps of the one, the other begins a trial: new ones differ, and repeated ones stay apart."""
    import optuna

    from sweeps.search import ask, open_study, trial_of
    from sweeps.search_space import space_of

    space = space_of([RATE])
    options = OPTIONS | {"sampler": sampler, "storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s"}
    options |= {"pruner": "none", "warmup_epochs": 1}
    folders = [tmp_path / "one", tmp_path / "two"]
    studies = [open_study(options, folder, "maximize") for folder in folders]
    real = optuna.Study.ask

    def both(before: list[Any]) -> list[float]:
        found: list[float] = []

        def after_the_other(study: optuna.Study, *args: Any) -> Any:
            monkeypatch.setattr(optuna.Study, "ask", real)
            found.append(ask(studies[1], options, folders[1], 0, space, before[1]).params["optimizer.lr"])
            return real(study, *args)

        monkeypatch.setattr(optuna.Study, "ask", after_the_other)
        return [ask(studies[0], options, folders[0], 0, space, before[0]).params["optimizer.lr"], *found]

    first, second = both([None, None])
    assert first != second
    stopped = [trial_of(study, options, folder, 0) for study, folder in zip(studies, folders, strict=True)]
    assert both(stopped) == [first, second]


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["seed=1"], ["there is nothing to search"]),
        ([RATE, "hydra.sweeper.pruner=best"], ["hydra.sweeper.pruner=best", "none, median, halving"]),
        ([RATE, "hydra.sweeper.n_trials=0"], ["hydra.sweeper.n_trials=0", "at least 1"]),
        ([RATE, "hydra.sweeper.n_trails=3"], ["hydra.sweeper.n_trails: unknown key", "'hydra.sweeper.n_trials'"]),
        ([RATE, "hydra.sweeper.storage=sqlite:///a.db"], ["study_name=<name>"]),
        ([RATE, "hydra.sweeper.storage=nothing://x", "hydra.sweeper.study_name=x"], ["nothing://x: cannot be used"]),
        (["optimizer.lr=tag(log,interval(0,1))"], ["optimizer.lr=", "cannot be searched"]),
        (["loss=ce_iou,ce_iuo"], ["there is no such option", "ce_iou"]),
        (["trainer.monitor=val/miou,val/loss"], ["trainer.monitor", "one value"]),
        (["data.folds=3", "data.fold=0,1,2"], ["data.fold: the search compares jobs by val/miou, so it must have one"]),
        (["data=camvid", "data.folds=3", "data.train_split=train,trainval"], ["data.train_split: the search compares"]),
        (["data=cityscapes", "data.classes=19,20"], ["data.classes: the search compares jobs by val/miou"]),
        (["data=synthetic", "data.val_length=8,60"], ["data.val_length: the search compares jobs by val/miou"]),
        (["loss=ce_iou,ce_dice", "trainer.monitor=val/loss"], ["loss: the search compares jobs by val/loss"]),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(run_here(lambda cfg: finish(1.0), "train", *SEARCH, *words, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []


def test_a_study_of_another_direction_is_refused(tmp_path: Path) -> None:
    words = [*SEARCH, RATE, "hydra.sweeper.n_trials=1", "hydra.sweeper.storage=sqlite:///study.db"]
    words += ["hydra.sweeper.study_name=lr"]
    assert run_here(lambda cfg: finish(0.5), "train", *words, cwd=tmp_path).returncode == 0
    done = run_here(lambda cfg: finish(0.5), "train", *words, "trainer.monitor=val/loss", cwd=tmp_path)
    assert_refused(done, "the study is to maximize, but this search to minimize")
