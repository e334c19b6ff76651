"""Compare runs: a table of their metrics, and of the keys in which their configs differ.

python compare.py
python compare.py runs='experiments/2026-11*' sort=val/miou group_by=seed format=markdown
python compare.py runs=[experiments/<sweep>,experiments/<run>] where='data=camvid' columns=[test/miou,optimizer.lr]
python compare.py report=report.html
python compare.py watch=true
"""

from __future__ import annotations

if __name__ == "__main__":  # first, so that Ctrl-C ends the program: an import may swallow it
    from utils.interruption import end_at_once

    end_at_once()

import logging
from typing import Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.config_values import listed
from utils.errors import UserError
from utils.paths import user_path
from utils.text import plural

log = logging.getLogger("compare")


def compare(cfg: DictConfig) -> None:
    """Print a table of runs, and one of the differences to a baseline; write a report."""
    from comparison.columns import checked_columns, selected
    from comparison.runs import found_runs, required_runs
    from comparison.tables import tables_of

    if cfg.watch:
        from comparison.watch import watch

        return watch(lambda: found_runs(cfg.runs)[0], str(cfg.runs))
    report = user_path(cfg.report, "report") if cfg.report is not None else None
    if report is not None:
        from comparison.report import check_place

        check_place(report)
    runs, skipped = required_runs(cfg.runs)
    runs = selected(runs, cfg.where)
    damage = [reason for run in runs for reason in run.damage(metrics=report is not None)]
    for reason in damage:
        log.warning("%s", reason)
    baseline = chosen_run(runs, cfg.baseline) if cfg.baseline is not None else None
    group_by = listed(cfg.group_by)
    columns = None
    if cfg.columns is not None:  # groups always have a column `n`
        asked = [name for name in listed(cfg.columns) if name not in ("group", "n") or not group_by]
        columns = checked_columns(runs, asked, "columns")
    choices = {"group_by": group_by, "columns": columns, "sort": cfg.sort}
    print(tables_of(runs, cfg.format, baseline=baseline, **choices))
    if report is not None:
        from comparison.report import write_report

        size = write_report(report, runs, skipped + damage, ", ".join(listed(cfg.runs)), baseline=baseline, **choices)
        log.info("wrote %s (%.1f MB); open it in a browser", report, size / 1e6)
    return None


def chosen_run(runs: list[Any], baseline: str) -> Any:
    """Return the run in the folder `baseline`, or the best run of this sweep."""
    from sweeps.checkpoints import best_of_sweep

    wanted = user_path(best_of_sweep(baseline, "baseline"), "baseline").resolve()
    for run in runs:
        if run.path.resolve() == wanted:
            return run
    raise UserError(
        f"baseline={baseline}: not among the {plural(len(runs), 'run')} compared; pass one, such as {runs[0].path}"
    )


if __name__ == "__main__":
    launch(compare, "compare")
