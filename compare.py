"""Compare runs: a table of their metrics, and of the keys in which their configs differ.

python compare.py
python compare.py runs='experiments/2026-11*' sort=val/miou group_by=seed format=markdown
python compare.py report=report.html
python compare.py watch=true
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which may swallow exceptions raised by signals
    from utils.interruption import end_at_once

    end_at_once()

import glob
import logging
from typing import Any

from omegaconf import DictConfig

from cli.launch import launch
from utils.errors import UserError
from utils.paths import is_there, user_path

log = logging.getLogger("compare")


def compare(cfg: DictConfig) -> None:
    """Print a table of runs, and one of the differences to a baseline; write a report."""
    from comparison.runs import found_runs
    from comparison.table import against, differing_keys, grouped, rendered, rows_of, sorted_by
    from utils.tables import terminal_width

    if cfg.watch:
        from comparison.watch import watch

        # The first run will make the default folder.
        if cfg.runs != "experiments" and not glob.has_magic(cfg.runs) and not is_there(user_path(cfg.runs, "runs")):
            raise UserError(f"runs={cfg.runs}: there is no such folder")
        return watch(lambda: found_runs(cfg.runs)[0], str(cfg.runs))
    report = user_path(cfg.report, "report") if cfg.report is not None else None
    if report is not None:
        from comparison.report import check_place

        check_place(report)
    runs, skipped = found_runs(cfg.runs)
    for reason in skipped:
        if runs or not reason.startswith(f"{cfg.runs}:"):  # the error below is about the folder itself
            log.warning("skipped %s", reason)
    if not runs:
        raise UserError(
            f"runs={cfg.runs}: there is no run; train one first, or pass a folder of runs, or a pattern such as"
            " 'experiments/2026-11*'"
        )
    damage = [reason for run in runs for reason in run.damage(metrics=report is not None)]
    for reason in damage:
        log.warning("%s", reason)
    baseline = chosen_run(runs, cfg.baseline) if cfg.baseline is not None else None
    keys = differing_keys(runs)
    rows = rows_of(runs, keys) if cfg.group_by is None else grouped(runs, keys, cfg.group_by)
    if cfg.sort is not None:
        rows = sorted_by(rows, cfg.sort)
    width = terminal_width()
    print(rendered(rows, cfg.format, f"{len(runs)} run{'s' if len(runs) > 1 else ''}", width=width))
    if baseline is not None:
        print()
        title = "IoU of the baseline, and differences to it"
        print(rendered(against(baseline, runs), cfg.format, title, signed=True, width=width))
    if report is not None:
        from comparison.report import write_report

        size = write_report(
            report, runs, skipped + damage, cfg.runs, sort=cfg.sort, group_by=cfg.group_by, baseline=baseline
        )
        log.info("wrote %s (%.1f MB); open it in a browser", report, size / 1e6)
    return None


def chosen_run(runs: list[Any], baseline: str) -> Any:
    """Return the run in the folder `baseline`."""
    wanted = user_path(baseline, "baseline").resolve()
    for run in runs:
        if run.path.resolve() == wanted:
            return run
    if not is_there(wanted):
        raise UserError(f"baseline={baseline}: there is no such folder")
    raise UserError(f"baseline={baseline}: none of the {len(runs)} runs compared; pass one, such as {runs[0].path}")


if __name__ == "__main__":
    launch(compare, "compare")
