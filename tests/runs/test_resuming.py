"""What a resumed run takes from its folder."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from runs.recording import resumed_at
from runs.resuming import OpenRun, threads_of, threads_to_record
from utils.run_folder import RunFolder


@pytest.mark.parametrize(
    ("typed", "processes", "expected"), [("auto", 1, 1), (3, 1, 3), ("auto", 2, "auto"), ("auto", None, "auto")]
)
def test_threads(tmp_path: Path, typed: Any, processes: int | None, expected: Any) -> None:
    """A run that has used one thread in each of its processes, resumed with one process; or a new run."""
    folder = RunFolder(tmp_path)
    folder.update_summary(environment={"threads": 1})
    ended: dict[str, Any] | None = None if processes is None else {"training": {"processes": [{}] * processes}}
    cfg = OmegaConf.create({"trainer": {"threads": typed}})
    assert threads_of(cfg, OpenRun(folder, ended)) == expected


@pytest.mark.parametrize(
    ("before", "resumed", "expected"),
    [
        ({"threads": 2}, True, 2),
        ({"threads": 4}, True, None),
        ({"threads": None}, True, None),  # it has changed in the run
        ({}, True, 2),  # without a record
        ({"threads": 4}, False, 2),  # of a job that ended before its first checkpoint
    ],
)
def test_a_run_with_several_numbers_of_threads_records_none(
    tmp_path: Path, before: dict[str, Any], resumed: bool, expected: int | None
) -> None:
    folder = RunFolder(tmp_path)
    folder.update_summary(environment=before)
    assert threads_to_record(OpenRun(folder, {} if resumed else None), 2) == expected


@pytest.mark.parametrize(
    ("epoch", "batch", "expected"),
    [
        (0, 4, "in epoch 1 of 3, after step 9"),
        (1, 2, "in epoch 2 of 3, after step 9"),
        (2, 0, "after epoch 2 of 3, step 9"),
    ],
)
def test_where_a_run_resumes(epoch: int, batch: int, expected: str) -> None:
    checkpoint = {"epoch": epoch, "training": {"progress": {"batch": batch, "step": 9}}}
    assert resumed_at(checkpoint, 3) == expected
