import csv
import json
import math
import signal
from pathlib import Path

import pytest

import utils.files
from utils.errors import LostProcess, UserError
from utils.interruption import Interrupted, Terminated
from utils.run_folder import RunFolder

ROWS = [{"epoch": 1, "loss": 0.125, "miou": math.nan}, {"epoch": 2, "loss": 1e-12, "miou": 0.5}]


def test_rows_are_a_csv_with_empty_cells_for_what_is_not_known(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_rows(["epoch", "loss", "miou"], ROWS)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"epoch": "1", "loss": "0.125", "miou": ""},
            {"epoch": "2", "loss": "1e-12", "miou": "0.5"},
        ]
    assert run.read_rows() == [{"epoch": 1, "loss": 0.125}, {"epoch": 2, "loss": 1e-12, "miou": 0.5}]
    assert run.read_rows(up_to_epoch=1) == [{"epoch": 1, "loss": 0.125}]


def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update_summary(overrides=["data.root=gr\udcfcn"])
    assert folder.read_summary()["overrides"] == ["data.root=gr\udcfcn"]


def test_a_folder_without_files_is_empty(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).read_rows() == []
    assert RunFolder(tmp_path).read_summary() == {}


def test_the_summary_is_strict_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.update_summary(best={"miou": math.nan}, losses=[math.inf, 1.0], name="größer")
    run.update_summary(seed=3)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text, parse_constant=refuse) == {
        "best": {"miou": None},
        "losses": [None, 1.0],
        "name": "größer",
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (Interrupted(signal.SIGINT), "interrupted"),
        (ValueError("oh"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_status(tmp_path: Path, error: BaseException | None, status: str) -> None:
    run = RunFolder(tmp_path)
    try:
        with run.recording(seed=1):
            assert run.read_summary()["status"] == "running"
            if error:
                raise error
    except BaseException as raised:
        assert raised is error
    summary = run.read_summary()
    assert summary["status"] == status
    assert summary["seed"] == 1
    if isinstance(error, ValueError):
        assert summary["error"] == "ValueError: oh"


def test_the_end_is_told_even_where_nothing_new_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, where a file can only be written over."""
    run = RunFolder(tmp_path)

    def full(*_: object) -> None:
        raise UserError("summary.json: cannot be written (No space left on device)")

    with pytest.raises(RuntimeError, match="the real reason"), run.recording(model="enet"):
        monkeypatch.setattr(utils.files, "write_text", full)
        raise RuntimeError("the real reason")
    assert run.read_summary()["status"] == "failed" and run.read_summary()["model"] == "enet"


@pytest.mark.parametrize("end", [LostProcess("another process has ended"), Terminated(), KeyboardInterrupt()])
def test_the_first_process_does_not_overwrite_the_failure_of_another(tmp_path: Path, end: BaseException) -> None:
    """It may notice the loss itself, or be stopped by torchrun first."""
    run = RunFolder(tmp_path)
    with pytest.raises(type(end)), run.recording():
        with pytest.raises(ValueError), run.recording_failure(1):
            raise ValueError("it broke")
        raise end
    summary = run.read_summary()
    assert (summary["status"], summary["error"]) == ("failed", "process 1: ValueError: it broke")


def test_a_first_process_that_was_lost_is_told_by_another(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.update_summary(status="running")  # as a process that is killed leaves it
    with pytest.raises(LostProcess), run.recording_failure(1):
        raise LostProcess("another process has ended")
    assert run.read_summary()["status"] == "failed"
