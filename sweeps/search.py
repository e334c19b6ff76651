"""Search hyperparameters with Optuna: each trial is a job of a sweep.

The study is stored, by default in the folder of the sweep, so that an interrupted search can continue, and jobs in any
process can report the metric of each epoch and be pruned.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import yaml
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from comparison.columns import higher_is_better
from sweeps.comparable import incomparable_keys
from sweeps.search_space import Space, space_of
from sweeps.sweep import DONE, best_value, status_of
from utils.errors import UserError
from utils.files import write_text
from utils.run_folder import RunFolder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from hydra_plugins.optuna_search import OptunaSearch

log = logging.getLogger(__name__)

STUDY, RESULTS = "study.log", "optimization_results.yaml"

PAUSES = (0.1, 0.5, 2.0)
"""Seconds to wait before a failing database is tried again."""

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def search(sweeper: OptunaSearch, words: list[str]) -> None:
    """Run the jobs of a search in the folder of its sweep, except those that are done.

    Args:
        words: words of the command line, which span the search space.

    Raises:
        UserError: there is nothing to search, or an option or a word is invalid.
    """
    config, launcher, context = sweeper.config, sweeper.launcher, sweeper.hydra_context
    assert config is not None and launcher is not None and context is not None
    options, folder, monitor = sweeper.options, Path(config.hydra.sweep.dir), str(config.trainer.monitor)
    check_options(options)
    space = space_of(words, context.config_loader)
    if not space.distributions:
        raise UserError(
            "hydra/sweeper=optuna: there is nothing to search; pass several values or an interval, such as"
            " 'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
        )
    check_comparable(list(space.distributions), monitor, has_folds=config.data.get("folds") is not None)
    sweeper.validate_batch_is_legal(examples(space))
    study = open_study(options, folder, direction_of(options, monitor))
    pending = {}
    for number in range(options["n_trials"]):
        before = trial_of(study, options, folder, number)
        status = status_of(folder / str(number))
        if before is None or status not in DONE:
            pending[number] = before
        elif not before.state.is_finished():  # it was killed before it could note the result
            tell(study, before.number, folder / str(number), monitor)
    while pending:
        first = min(pending)
        batch = [number for number in range(first, first + options["n_jobs"]) if number in pending]
        batch = batch[: next((i for i, number in enumerate(batch) if number != first + i), len(batch))]
        trials = [ask(study, options, folder, number, space, pending.pop(number)) for number in batch]
        launcher.launch([space.words(trial.params) for trial in trials], initial_job_idx=first)
        for number, trial in zip(batch, trials, strict=True):
            tell(study, trial.number, folder / str(number), monitor)
    if any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        best = study.best_trial
        found = {"name": "optuna", "best_params": best.params, "best_value": best.value}
        write_text(folder / RESULTS, yaml.safe_dump(found, sort_keys=False))
        values = " ".join(f"{name}={value}" for name, value in best.params.items())
        log.info("best of the search: %s %.4f with %s", monitor, best.value, values)


def check_comparable(keys: list[str], monitor: str, has_folds: bool) -> None:
    """Check that the metric means the same in all jobs of a search over some keys.

    Args:
        has_folds: whether jobs validate on a part of `data.train_split`.

    Raises:
        UserError: jobs would validate on different samples, or be compared by different losses or metrics.
    """
    for key in incomparable_keys(keys, monitor, has_folds):
        hint = ", or trainer.monitor=val/miou" if key.partition(".")[0] == "loss" else ""
        raise UserError(f"{key}: the search compares jobs by {monitor}, so it must have one value{hint}")


def check_options(options: Mapping[str, Any]) -> None:
    """Check the keys of conf/hydra/sweeper/optuna.yaml.

    Raises:
        UserError: names the first invalid value.
    """
    choices = {
        "direction": (None, "maximize", "minimize"),
        "sampler": ("tpe", "random"),
        "pruner": ("none", "median", "halving"),
    }
    for key, known in choices.items():
        if options[key] not in known:
            names = ", ".join("null" if name is None else str(name) for name in known)
            raise UserError(f"hydra.sweeper.{key}={options[key]}: must be one of {names}")
    least = {"n_trials": 1, "n_jobs": 1, "seed": 0, "warmup_epochs": 1, "startup_trials": 0, "reduction_factor": 2}
    for key, lowest in least.items():
        if type(options[key]) is not int or not lowest <= options[key] <= 1_000_000:
            raise UserError(f"hydra.sweeper.{key}={options[key]}: must be an integer of at least {lowest}")
    if options["storage"] is not None and options["study_name"] is None:
        raise UserError("hydra.sweeper.storage: needs the name of the study; pass hydra.sweeper.study_name=<name>")


def direction_of(options: Mapping[str, Any], monitor: str) -> str:
    """Return the direction of a search: from the options, or the one in which the metric improves."""
    if options["direction"] is not None:
        return str(options["direction"])
    return "maximize" if higher_is_better(monitor) else "minimize"


def examples(space: Space) -> list[list[str]]:
    """Return the words of jobs that together contain each category, to check that these can be composed."""
    choices = {
        name: list(found.choices) if isinstance(found, CategoricalDistribution) else [found.low]
        for name, found in space.distributions.items()
    }
    most = max(len(values) for values in choices.values())
    return [space.words({name: values[i % len(values)] for name, values in choices.items()}) for i in range(most)]


def open_study(options: Mapping[str, Any], folder: Path, direction: str | None = None) -> optuna.Study:
    """Open the study of the sweep in a folder; with a direction, begin it if it is new.

    Raises:
        UserError: the storage cannot be used, or the study has another direction.
    """
    from optuna.storages import JournalStorage, get_storage
    from optuna.storages.journal import JournalFileBackend

    name = options["study_name"] or "search"
    pruner = pruner_of(options)
    try:
        if options["storage"] is None:
            storage: BaseStorage = JournalStorage(JournalFileBackend(str(folder / STUDY)))
        else:
            storage = _while_others_create_it(lambda: get_storage(options["storage"]))
        if direction is None:
            return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction=StudyDirection[direction.upper()],
            pruner=pruner,
            load_if_exists=True,
        )
    except Exception as error:  # of any database
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"hydra.sweeper.storage={options['storage']}: cannot be used ({reason})") from error
    if study.direction.name.lower() != direction:
        raise UserError(
            f"hydra.sweeper.study_name={name}: the study is to {study.direction.name.lower()}, but this search to"
            f" {direction}; pass another name"
        )
    return study


def _while_others_create_it(connect: Callable[[], BaseStorage]) -> BaseStorage:
    """Connect to a database, which fails while another process creates its tables."""
    from sqlalchemy.exc import DBAPIError

    for seconds in PAUSES:
        try:
            return connect()
        except DBAPIError:
            time.sleep(seconds)
    return connect()


def pruner_of(options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Return the pruner that the options name. It ends no trial before epoch `warmup_epochs`.

    Steps of a trial are epochs, counted from 1.
    """
    warmup = options["warmup_epochs"]
    if options["pruner"] == "median":
        return optuna.pruners.MedianPruner(options["startup_trials"], n_warmup_steps=warmup)
    if options["pruner"] == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(warmup, options["reduction_factor"])
    return optuna.pruners.NopPruner()


def ask(
    study: optuna.Study, options: Mapping[str, Any], folder: Path, number: int, space: Space, before: FrozenTrial | None
) -> Trial:
    """Begin the trial of a job, with the values of its earlier trial if there is one.

    The values depend only on the seed, the number of the trial and the earlier results. The number is assigned first,
    so that several machines can ask the same study at once.
    """
    if before is not None and not before.state.is_finished():
        study.tell(before.number, state=TrialState.FAIL)
    study.sampler = optuna.samplers.RandomSampler()
    begun = study.ask()
    seed = (options["seed"] + begun.number) % 2**32
    if before is not None:
        study.sampler = optuna.samplers.PartialFixedSampler(before.params, optuna.samplers.RandomSampler(seed))
    elif options["sampler"] == "random":
        study.sampler = optuna.samplers.RandomSampler(seed)
    else:
        shared = options["n_jobs"] > 1 or options["storage"] is not None
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=shared)
    trial = Trial(study, begun._trial_id)
    for name, distribution in space.distributions.items():
        trial._suggest(name, distribution)
    trial.set_user_attr("sweep", folder.name)
    trial.set_user_attr("job", number)
    return trial


def trial_of(study: optuna.Study, options: Mapping[str, Any], folder: Path, number: int) -> FrozenTrial | None:
    """Return the last trial of a job; None if it has none.

    Without a storage the study is in the folder of the sweep, which may have been renamed.
    """
    for trial in reversed(study.get_trials(deepcopy=False)):
        is_same = options["storage"] is None or trial.user_attrs.get("sweep") == folder.name
        if is_same and trial.user_attrs.get("job") == number:
            return trial
    return None


def tell(study: optuna.Study, trial: int, job: Path, monitor: str) -> None:
    """Note the result of a job in the study."""
    status = status_of(job)
    value = best_value(RunFolder(job), monitor) if status == "finished" else math.nan
    if math.isfinite(value):
        study.tell(trial, value)
    else:
        study.tell(trial, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)


def pruning(options: Mapping[str, Any], job: Path, monitor: str, epochs: int) -> Callable[[int, float], bool] | None:
    """Return a function that reports the metric of an epoch to the search, and returns whether to prune this job.

    After the last of its `epochs` no job is pruned.
    """
    study = open_study(options, job.absolute().parent)
    found = trial_of(study, options, job.absolute().parent, int(job.name))
    if found is None:
        return None
    trial = Trial(study, found._trial_id)

    def is_pruned(epoch: int, value: float) -> bool:
        if not math.isnan(value):
            trial.report(value, epoch)
        return epoch < epochs and trial.should_prune()

    for row in RunFolder(job).read_rows():  # of a job that is resumed
        is_pruned(int(row["epoch"]), row.get(monitor, math.nan))
    return is_pruned
