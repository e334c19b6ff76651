"""Find the checkpoints that `checkpoint=` names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from comparison.columns import higher_is_better
from comparison.rows import differing_keys
from comparison.runs import Run, read_runs
from sweeps.comparable import incomparable_keys
from utils.config_values import listed
from utils.errors import UserError
from utils.find_run import is_sweep, note
from utils.paths import is_file, user_path

log = logging.getLogger(__name__)


def chosen_checkpoints(given: str | Sequence[str]) -> list[str]:
    """Return the paths of one checkpoint, or of each in a list. A sweep stands for its best run.

    Raises:
        UserError: none of the jobs of a sweep has a checkpoint and a metric.
    """
    chosen = [best_of_sweep(path, "checkpoint") for path in listed(given)]
    twice = next((path for path in chosen if chosen.count(path) > 1), None)
    if twice is not None:
        raise UserError(f"checkpoint: {twice} occurs twice in the list")
    return chosen


def best_of_sweep(given: str, key: str) -> str:
    """Return the folder of the job of a sweep with the best value of the metric that the jobs monitor.

    Any other path is returned unchanged.

    Args:
        key: the key that the path was given for, for messages.

    Raises:
        UserError: the jobs monitor different metrics, or none has a checkpoint and the metric.
    """
    path = user_path(given, key)
    if not is_sweep(path):
        return given
    runs = [run for run in read_runs([path])[0] if is_file(run.path / "checkpoints" / "best.pt")]
    monitors = {str(run.config.get("trainer.monitor", "val/miou")) for run in runs}
    if len(monitors) > 1:
        raise UserError(f"{key}={given}: its runs monitor {' and '.join(sorted(monitors))}; pass one of the runs")
    monitor = monitors.pop() if monitors else "val/miou"
    measured = [(value, run) for run in runs if (value := run.best(monitor)) is not None]
    if not measured:
        raise UserError(f"{key}={given}: a sweep in which no run has a checkpoint with {monitor}")
    if unlike := _incomparable(runs, monitor):
        log.warning("%s=%s: its runs differ in %s, so %s does not say which is the best", key, given, unlike, monitor)
    choose = max if higher_is_better(monitor) else min
    value, best = choose(measured, key=lambda pair: pair[0])
    note(f"{key}={given}: {best.path} is the best of its {len(measured)} runs by {monitor} ({value:.4f})")
    return str(best.path)


def _incomparable(runs: Sequence[Run], monitor: str) -> str:
    """Return the keys in which runs differ so that the metric is not comparable; '' if there are none."""
    keys = differing_keys(runs)
    if len({run.option("data") for run in runs}) > 1:
        keys.insert(0, "data")
    has_folds = any(run.config.get("data.folds") for run in runs)
    return ", ".join(incomparable_keys(keys, monitor, has_folds))
