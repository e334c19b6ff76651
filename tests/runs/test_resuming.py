"""What a resumed run takes from its folder."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from data.fingerprint import fingerprint
from data.folder import Folder
from runs.data_building import Splits
from runs.recording import resumed_at
from runs.resuming import OpenRun, check_same_samples, threads_of, threads_to_record
from tests.data.layouts import make_folder
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


def test_files_that_were_replaced_since_the_run_began(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folder(tmp_path / "own")
    train, val = (Folder(str(tmp_path / "own"), split) for split in ("train", "val"))
    folder = RunFolder(tmp_path)
    folder.write_config({"data": {"root": "own"}})
    folder.update_summary(samples={"train": fingerprint(train), "validation": fingerprint(val)})
    cfg, run = OmegaConf.create({"data": {"root": "own"}}), OpenRun(folder, {"labels": train.labels.to_dict()})
    check_same_samples(cfg, run, Splits(train, val, val))
    assert caplog.messages == []
    with Path(val.files(0)[1]).open("ab") as mask:
        mask.write(b"...")
    check_same_samples(cfg, run, Splits(train, val, val))
    assert caplog.messages == [
        "data.root=own: the files of the validation samples have other sizes than when the run began"
    ]


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
