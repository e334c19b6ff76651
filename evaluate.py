"""Measure trained networks on a split.

python evaluate.py checkpoint=experiments/<run> split=val
python evaluate.py checkpoint=[experiments/<run>,experiments/<run>] split=test
python evaluate.py runs=experiments/<sweep> split=test
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which may swallow exceptions raised by signals
    from utils.interruption import end_at_once

    end_at_once()

import logging
import re
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import PartlyFailed, UserError
from utils.files import make_writable
from utils.interruption import Terminated
from utils.text import plural

if TYPE_CHECKING:
    import torch

log = logging.getLogger("evaluate")


def evaluate(cfg: DictConfig) -> None:
    """Print the metrics of a checkpoint, an ensemble, or many runs on a split, and write them to files."""
    # Imported here because torch takes seconds: a mistake in the config is reported before.
    import cv2

    from engine.device import choose_device
    from engine.threads import set_threads
    from evaluation.measuring import measure
    from evaluation.results import show, write_results
    from export import onnx_model
    from runs.measurements import is_exported, planned, predictor_for, samples_of, usual_cache
    from sweeps.checkpoints import chosen_checkpoints
    from utils.memory import keep_freed_memory

    keep_freed_memory()
    cv2.setNumThreads(1)  # the network needs the cores
    paths = [] if cfg.runs is not None else chosen_checkpoints(cfg.checkpoint)
    exported = any(is_exported(path) for path in paths)
    device = onnx_model.choose_device(cfg.device) if exported else choose_device(cfg.device)
    if device.type == "cpu":
        set_threads("auto")
    if cfg.runs is not None:
        return evaluate_runs(cfg, device)
    plan = planned(cfg, paths)
    predictor = predictor_for(plan, cfg, device)
    samples = samples_of(plan, usual_cache(plan))
    make_writable(plan.folder)
    with progress(plan.split, len(samples)) as bar:
        measured = measure(predictor, plan.dataset, samples, plan.node, plan.amp, bar.update)
    show(plan.dataset.labels.names, measured, plan.title)
    for path in write_results(plan.folder, plan.stem, plan.facts, measured, plan.dataset, predictor):
        log.info("wrote %s", path)
    return None


def evaluate_runs(cfg: DictConfig, device: torch.device) -> None:
    """Measure runs that have not been measured so, and print a table of all."""
    from comparison.runs import found_runs
    from evaluation.identity import SHOWN
    from evaluation.measuring import measure
    from evaluation.results import as_dict, write_results
    from runs.measurements import Measurement, planned, predictor_for, samples_of, usual_cache
    from utils.tables import number, table

    runs, skipped = found_runs(cfg.runs)
    for reason in skipped:
        log.warning("skipped %s", reason)
    if not runs:
        raise UserError(f"runs={cfg.runs}: there is no run; pass a folder of runs, a sweep, a pattern or a list")
    plans: dict[Path, Measurement] = {}
    found: dict[Path, dict[str, Any]] = {}
    broken: dict[Path, str] = {}
    for run in runs:
        try:
            plan = planned(cfg, [str(run.path)], announce=run is runs[0])
        except Exception as error:
            broken[run.path] = described(error)
            continue
        before = plan.before
        if before is None:
            plans[run.path] = plan
        else:
            found[run.path] = before
    known = len(found)
    # Together what shares samples, which are then read once.
    groups: dict[str, list[Path]] = {}
    for path, plan in plans.items():
        groups.setdefault(plan.samples_key, []).append(path)
    total = sum(plan.length for plan in plans.values())
    with progress(cfg.split or "evaluating", total) as bar, keeping_measured(found, len(runs)):
        end = 0
        for paths in groups.values():
            samples = None
            for path in paths:
                plan = plans.pop(path)
                end += plan.length
                bar.set_postfix_str(path.name)
                try:
                    if samples is None:
                        samples = shared_samples(plan) if len(paths) > 1 else samples_of(plan, usual_cache(plan))
                    make_writable(plan.folder)
                    predictor = predictor_for(plan, cfg, device)
                    measured = measure(predictor, plan.dataset, samples, plan.node, plan.amp, bar.update)
                    write_results(plan.folder, plan.stem, plan.facts, measured, plan.dataset, predictor)
                    found[path] = plan.facts | as_dict(plan.dataset.labels.names, measured)
                    if bar.disable:  # not in a terminal
                        miou = number(as_nan(found[path]["miou"]))
                        log.info("%s: mIoU %s (%d of %d)", path, miou, len(found) + len(broken), len(runs))
                except Exception as error:
                    broken[path] = described(error)
                    bar.update(end - bar.n)
    rows = [
        [run.name, found[run.path]["split"], *(number(as_nan(found[run.path][key])) for key in SHOWN)]
        for run in runs
        if run.path in found
    ]
    if rows:
        title = f"{plural(len(rows), 'run')}, {known} of them measured before"
        log.info("%s", table([["run", "split", "mIoU", "Dice", "pixel accuracy", "boundary IoU"], *rows], title))
    if broken:
        reasons = [f"{run.path}: {broken[run.path]}" for run in runs if run.path in broken]
        if len(broken) > 1 and len(set(broken.values())) == 1:
            reasons = list(broken.values())[:1]
        raise PartlyFailed("\n".join([f"{len(broken)} of {plural(len(runs), 'run')} could not be measured:", *reasons]))


@contextmanager
def keeping_measured(found: Sized, count: int) -> Iterator[None]:
    """Say at Ctrl-C or SIGTERM that the runs measured so far, of `count`, are not measured again."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        log.warning("%d of %s measured and kept; the same command measures the rest", len(found), plural(count, "run"))
        raise


def shared_samples(plan: Any) -> Any:
    """Return samples that are kept in memory for the next network, if there is room."""
    from runs.measurements import samples_of, usual_cache

    try:
        return samples_of(plan, "ram")
    except UserError as error:
        if "data.cache=ram" not in str(error):
            raise
        return samples_of(plan, usual_cache(plan))


def progress(title: str, total: int) -> Any:
    """Return a progress bar over images."""
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit="img", leave=False, dynamic_ncols=True, disable=None)


def described(error: Exception) -> str:
    """Return an error as one line; log the traceback of one that is not the user's to fix."""
    if not isinstance(error, UserError):
        log.debug("traceback", exc_info=error)
        return f"{type(error).__name__}: {error}"
    return re.sub(r"\n(?=[A-Z])", ". ", str(error)).replace("\n", "; ")


def as_nan(value: float | None) -> float:
    """Return NaN for the null of a JSON file."""
    return float("nan") if value is None else value


if __name__ == "__main__":
    launch(evaluate, "evaluate")
