"""The metrics of a training: their files and their logger."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from engine.pictures import Pictures
from engine.progress import Progress
from utils.loggers import Logger
from utils.run_folder import RunFolder


class RunRecord:
    """Writes metrics.csv, summary.json and the values for the logger.

    Args:
        run: the folder; None if another process writes, in which case nothing is written.
        columns: columns of metrics.csv.
        description: values for each checkpoint: config, image size, commit.
        pictures: drawn for the logger at each validation; None draws none.
        is_pruned: called with each epoch and its monitored metric; returns True to end the training.
    """

    def __init__(
        self,
        run: RunFolder | None,
        logger: Logger,
        columns: list[str],
        description: dict[str, Any],
        pictures: Pictures | None = None,
        is_pruned: Callable[[int, float], bool] | None = None,
    ) -> None:
        self.run, self.logger, self.columns = run, logger, columns
        self.description, self.pictures, self.is_pruned = description, pictures, is_pruned
        self.rows: list[dict[str, float]] = []

    def begin(self, progress: Progress) -> None:
        """Read the rows of a resumed run, and repair what a kill left inconsistent."""
        if self.run is None:
            return
        self.rows = self.run.read_rows(up_to_epoch=progress.epoch)
        if self.rows:  # a kill may have come between the checkpoint and the summary
            best = [row for row in self.rows if row["epoch"] == progress.best_epoch]
            last = self._with_empty_cells(self.rows[-1])
            self.run.update_summary(last=last, **({"best": self._with_empty_cells(best[0])} if best else {}))
        self.run.checkpoints.mkdir(exist_ok=True)

    def _with_empty_cells(self, row: dict[str, float]) -> dict[str, float]:
        """Return a row of metrics.csv as it was when it was written: with NaN for classes that did not occur."""
        validated = any(column.startswith("val/") for column in row)
        missing = [column for column in self.columns if validated or not column.startswith("val/")]
        return dict.fromkeys(missing, math.nan) | row

    def forget_threads(self) -> None:
        """Record that the number of threads has changed, so that no other run starts with one of them."""
        if self.run is not None:
            environment = self.run.read_summary().get("environment") or {}
            self.run.update_summary(environment={**environment, "threads": None})

    def add_row(self, row: dict[str, float]) -> None:
        """Add the row of an epoch to metrics.csv."""
        self.rows.append(row)
        if self.run is not None:
            self.run.write_rows(self.columns, self.rows)

    def show(self, row: dict[str, float], improved: bool, model: nn.Module) -> None:
        """Add the row of an epoch to the summary and the logger, with pictures if the model was validated.

        The logger also gets the best values so far, as `best/...`, to sort runs by.
        """
        if self.run is None:
            return
        step = int(row["step"])
        self.run.update_summary(last=row, **({"best": row} if improved else {}))
        values = {name: value for name, value in row.items() if not math.isnan(value)}
        self.log({name: value for name, value in values.items() if name not in ("epoch", "step")}, step)
        if improved:
            best = [name for name in values if name.startswith("val/") and not name.startswith("val/iou/")]
            self.log({"best/epoch": row["epoch"], **{f"best/{name}": values[name] for name in best}}, step)
        if self.pictures is not None and "val/loss" in row:
            self.logger.picture("predictions", self.pictures(model), step)

    def log(self, values: dict[str, float], step: int) -> None:
        """Log values by name at an optimiser step."""
        if self.run is not None:
            self.logger.log(values, step)
