"""TensorBoard events in the run folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UserError
from utils.loggers.hyperparameters import hyperparameters

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 10
HPARAMS = ".hparams"  # suffix of the files for the HParams tab


class TensorBoard:
    """Scalars, pictures and the HParams tab for `tensorboard --logdir experiments`.

    TensorBoard uses the first description of a run that it reads. Those for the HParams tab are in separate
    event files, which are replaced when the run is resumed.

    Args:
        folder: the run folder; events go to its `tensorboard/`.
        first_step: optimiser step to resume after; later events are hidden.

    Raises:
        UserError: the files cannot be written; raised by every method.
    """

    pictures = True

    def __init__(self, folder: str, first_step: int = 0) -> None:
        self._folder, self._first_step = Path(folder, "tensorboard"), first_step
        self._writer: SummaryWriter | None = None

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        with self._writing():
            for old in self._folder.glob(f"*{HPARAMS}"):
                old.unlink()
            # TensorBoard reads the files in order: complete this one before the next begins.
            self._describe("session_start_info", start_time_secs=time.time(), hparams=hyperparameters(config, options))
            # TensorBoard hides events from this step on.
            purge_step = self._first_step + 1 if self._first_step else None
            self._writer = SummaryWriter(str(self._folder), purge_step=purge_step, flush_secs=FLUSH_SECONDS)

    def log(self, values: Mapping[str, float], step: int) -> None:
        assert self._writer is not None
        with self._writing():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        assert self._writer is not None
        with self._writing():
            self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self, status: str) -> None:
        if self._writer is None:
            return
        with suppress(OSError):  # a full disk was reported before
            self._writer.close()
            ended = "STATUS_SUCCESS" if status in ("finished", "pruned") else "STATUS_FAILURE"
            self._describe("session_end_info", end_time_secs=time.time(), status=ended)

    def _describe(self, part: str, **values: Any) -> None:
        """Write the description of a run at its start or end for the HParams tab."""
        from google.protobuf.json_format import ParseDict
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from torch.utils.tensorboard import FileWriter

        data = ParseDict({part: values}, HParamsPluginData())
        described = Summary.Value(tag=f"_hparams_/{part}", metadata=metadata.create_summary_metadata(data))
        writer = FileWriter(str(self._folder), filename_suffix=HPARAMS)
        writer.add_summary(Summary(value=[described]))
        writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._folder}: cannot be written ({error.strerror})") from error
