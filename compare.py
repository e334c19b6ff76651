"""Compares runs: a table of what they reached, and of what they differ in.

python compare.py
python compare.py runs='experiments/2026-11*' sort=val/miou group_by=seed format=markdown
"""

from __future__ import annotations

import glob
import logging
from pathlib import Path

from omegaconf import DictConfig

from utils.errors import UserError
from utils.launch import launch

log = logging.getLogger("compare")


def compare(cfg: DictConfig) -> None:
    """Prints a table of runs, and of the classes' differences to one of them."""
    from comparison.runs import read_runs
    from comparison.table import against, differing_keys, grouped, rendered, rows_of, sorted_by

    pattern = str(Path(cfg.runs).expanduser())
    names = [pattern] if Path(pattern).is_dir() else glob.glob(pattern)  # noqa: PTH207 - may be absolute
    runs, skipped = read_runs(Path(name) for name in names)
    for reason in skipped:
        log.warning("left out %s", reason)
    if not runs:
        raise UserError(
            f"runs={cfg.runs}: there is no run; name a folder of runs, or a pattern as 'experiments/2026-11*'"
        )
    keys = differing_keys(runs)
    rows = rows_of(runs, keys) if cfg.group_by is None else grouped(runs, keys, cfg.group_by)
    if cfg.sort is not None:
        rows = sorted_by(rows, cfg.sort)
    print(rendered(rows, cfg.format, f"{len(runs)} run{'s' if len(runs) > 1 else ''}"))
    if cfg.baseline is not None:
        wanted = Path(cfg.baseline).expanduser().resolve()
        chosen = [run for run in runs if run.path.resolve() == wanted]
        if not chosen:
            raise UserError(f"baseline={cfg.baseline}: none of the {len(runs)} runs compared")
        print()
        print(rendered(against(chosen[0], runs), cfg.format, "IoU, and the differences to it", signed=True))


if __name__ == "__main__":
    launch(compare, "compare")
