"""Measure what evaluate.py names: a checkpoint, an ensemble, or each of many runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from comparison.runs import Run, required_runs
from data.samples import SegmentationDataset
from engine.progress import ImageBar
from evaluation.identity import SHOWN, result_of
from evaluation.measuring import measure
from evaluation.results import as_dict, show, write_results
from runs.measurements import Measurement, planned, predictor_for, samples_of, usual_cache
from utils.errors import UserError, partly_failed
from utils.files import make_writable
from utils.interruption import Terminated
from utils.tables import number, table
from utils.text import plural

log = logging.getLogger("evaluate")


def measure_checkpoints(cfg: DictConfig, paths: Sequence[str], device: torch.device) -> None:
    """Measure a checkpoint, or the ensemble of several; print the metrics and write them to files."""
    plan = planned(cfg, paths)
    predictor = predictor_for(plan, cfg, device)
    samples = samples_of(plan, usual_cache(plan))
    make_writable(plan.folder)
    with ImageBar(plan.split, len(samples)) as bar:
        measured = measure(predictor, plan.dataset, samples, plan.node, plan.amp, bar.update)
    show(plan.dataset.labels.names, measured, plan.title)
    for path in write_results(plan.folder, plan.stem, plan.facts, measured, plan.dataset, predictor):
        log.info("wrote %s", path)


def measure_runs(cfg: DictConfig, device: torch.device) -> None:
    """Measure the runs without results for these options, and print a table of all.

    Raises:
        UserError: there is no run.
        PartlyFailed: some runs could not be measured.
    """
    runs, _ = required_runs(cfg.runs)
    found: dict[Path, dict[str, Any]] = {}
    broken: dict[Path, str] = {}
    groups: dict[str, list[tuple[Path, Measurement]]] = {}  # of runs that share samples, which are read once
    logged: set[str] = set()
    for run in runs:
        try:
            plan = planned(cfg, [str(run.path)], logged)
        except Exception as error:
            broken[run.path] = _described(error)
            continue
        before = result_of(plan.folder, plan.stem, plan.facts)
        if before is None:
            groups.setdefault(plan.samples_key, []).append((run.path, plan))
        else:
            found[run.path] = before
    known, end = len(found), 0
    total = sum(plan.length for group in groups.values() for _, plan in group)
    with ImageBar(cfg.split or "evaluating", total) as bar, _keeping_results(found, len(runs)):
        for group in groups.values():
            samples = None
            while group:  # popped, to free each data set
                path, plan = group.pop(0)
                end += plan.length
                bar.set_postfix_str(path.name)
                try:
                    if samples is None:
                        samples = _shared_samples(plan) if group else samples_of(plan, usual_cache(plan))
                    found[path] = _result(plan, samples, cfg, device, bar.update)
                except Exception as error:
                    broken[path] = _described(error)
                    bar.move_to(end)
                    continue
                if bar.disable:  # not in a terminal
                    done = len(found) + len(broken)
                    log.info("%s: mIoU %s (%d of %d)", path, number(found[path]["miou"]), done, len(runs))
    _report(runs, found, broken, known)


def _result(
    plan: Measurement,
    samples: SegmentationDataset,
    cfg: DictConfig,
    device: torch.device,
    after_batch: Callable[[int], object],
) -> dict[str, Any]:
    """Measure a run, write its files, and return what its JSON file holds."""
    make_writable(plan.folder)
    predictor = predictor_for(plan, cfg, device)
    measured = measure(predictor, plan.dataset, samples, plan.node, plan.amp, after_batch)
    write_results(plan.folder, plan.stem, plan.facts, measured, plan.dataset, predictor)
    return plan.facts | as_dict(plan.dataset.labels.names, measured)


def _report(runs: Sequence[Run], found: Mapping[Path, dict[str, Any]], broken: Mapping[Path, str], known: int) -> None:
    """Print a table of the results, `known` of which existed before.

    Raises:
        PartlyFailed: some runs could not be measured.
    """
    done = [(run.name, found[run.path]) for run in runs if run.path in found]
    if done:
        rows = [[name, result["split"], *(number(result[key]) for key in SHOWN)] for name, result in done]
        title = f"{plural(len(rows), 'run')}, {known} of them measured before"
        log.info("%s", table([["run", "split", "mIoU", "Dice", "pixel accuracy", "boundary IoU"], *rows], title))
    if broken:
        named = [(f"{run.path}: ", broken[run.path]) for run in runs if run.path in broken]
        reasons = [reason if reason.startswith(name) else name + reason for name, reason in named]
        if len(broken) > 1 and len(set(broken.values())) == 1:
            reasons = list(broken.values())[:1]
        raise partly_failed(len(broken), plural(len(runs), "run"), "measured", reasons)


@contextmanager
def _keeping_results(found: Sized, count: int) -> Iterator[None]:
    """At Ctrl-C or SIGTERM, report that the runs measured so far, of `count`, are not measured again."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        log.warning("%d of %s measured and kept; the same command measures the rest", len(found), plural(count, "run"))
        raise


def _shared_samples(plan: Measurement) -> SegmentationDataset:
    """Return samples that are kept in memory for the next network, if there is room."""
    try:
        return samples_of(plan, "ram")
    except UserError as error:
        if "data.cache=ram" not in str(error):
            raise
        return samples_of(plan, usual_cache(plan))


def _described(error: Exception) -> str:
    """Return an error as one line; log the traceback unless the user can fix it."""
    if not isinstance(error, UserError):
        log.debug("traceback", exc_info=error)
        return f"{type(error).__name__}: {error}"
    return re.sub(r"\n(?=[A-Z])", ". ", str(error)).replace("\n", "; ")
