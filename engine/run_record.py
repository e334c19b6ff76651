"""What a training writes down as it goes."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from engine.checkpoint_writer import CheckpointWriter
from engine.pictures import Pictures
from engine.progress import Progress
from utils.loggers import Logger
from utils.run_folder import RunFolder


class RunRecord:
    """Keeps metrics.csv, summary.json, the checkpoints and the logger's numbers of a run. Leave with `with`.

    Args:
        run: the folder; None where another process writes for this one, and all of this does nothing.
        columns: of metrics.csv.
        description: what each checkpoint holds besides the state of the training: config, image size ...
        pictures: for the logger at validations; None makes none.
    """

    def __init__(
        self,
        run: RunFolder | None,
        logger: Logger,
        columns: list[str],
        description: dict[str, Any],
        pictures: Pictures | None = None,
    ) -> None:
        self.run, self.logger, self.columns = run, logger, columns
        self.description, self.pictures = description, pictures
        self.rows: list[dict[str, float]] = []
        self._writer = CheckpointWriter()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def begin(self, progress: Progress) -> None:
        """Reads the rows of a run that goes on; what a kill may have cut off is dropped or made up for."""
        if self.run is None:
            return
        self.rows = self.run.read_rows(up_to_epoch=progress.epoch)
        if self.rows:  # a kill may have come between the checkpoint and the summary
            best = [row for row in self.rows if row["epoch"] == progress.best_epoch]
            self.run.update_summary(last=self.rows[-1], **({"best": best[0]} if best else {}))
        self.run.checkpoints.mkdir(exist_ok=True)

    def add_row(self, row: dict[str, float]) -> None:
        """Adds an epoch to metrics.csv."""
        self.rows.append(row)
        if self.run is not None:
            self.run.write_rows(self.columns, self.rows)

    def save_best(self, checkpoint: dict[str, Any]) -> None:
        """Begins to write `best.pt`."""
        if self.run is not None:
            self._writer.save(self.run.best, checkpoint)

    def save_last(self, checkpoint: dict[str, Any]) -> None:
        """Begins to write `last.pt`."""
        if self.run is not None:
            self._writer.save(self.run.last, checkpoint)

    def rehearse(self, checkpoint: dict[str, Any]) -> None:
        """Prepares for a `last.pt` like this one."""
        if self.run is not None:
            self._writer.rehearse(self.run.last, checkpoint)

    def check(self) -> None:
        """Raises what has gone wrong with writing a checkpoint."""
        self._writer.check()

    def wait(self) -> None:
        """Waits until the checkpoints are on disk."""
        self._writer.wait()

    def show(self, row: dict[str, float], improved: bool, model: nn.Module) -> None:
        """Puts an epoch's row into the summary and the logger, and a picture of what the model says if it was
        validated. The logger gets the best values so far by names of their own, to list runs by."""
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
        """Tells the logger values by name at an optimiser step."""
        if self.run is not None:
            self.logger.log(values, step)
