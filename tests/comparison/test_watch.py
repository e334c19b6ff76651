"""compare.py watch=true: the table, against folders written by hand and a run that is really under way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comparison.watch import drawn
from tests.comparison.folders import add_metrics, change_summary, make_run, runs_in
from tests.conftest import ROOT, TINY, start_command
from tests.printed import rows_of_table
from utils.processes import this_process


def cells(text: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    return {row[0]: row[1:] for row in rows_of_table(text)}


def aged(run: Path, seconds: float) -> None:
    for file in run.iterdir():
        os.utime(file, (time.time() - seconds,) * 2)


def test_what_is_shown_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight epochs of 60 s are left, and 10 s of the first of them have passed: 470 s."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    run = make_run(tmp_path / "a", trainer__epochs=10)
    change_summary(run, status="running", name="mine")
    columns = {"train/loss": [0.75, 0.5], "val/miou": [0.25, 0.125], "images_per_second": [10, 12.34]}
    add_metrics(run, {"epoch": [1, 2], **columns, "seconds": [50, 70]})
    aged(run, 10)
    name, status, *rest = ("mine", *cells(drawn(runs_in(tmp_path), "experiments", 10))["mine"])
    assert (name, status, rest[:-1]) == ("mine", "running", ["2/10", "0.5000", "0.2500", "12.3"])
    assert rest[-1] == "7 min 50 s"
    aged(run, 1000)
    assert cells(drawn(runs_in(tmp_path), "x", 10))["mine"][0::5] == ["running?", "silent for 16 min"]


def test_a_killed_run(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    for name, process in (("dead", {**this_process(), "pid": gone.pid}), ("alive", this_process())):
        change_summary(make_run(tmp_path / name), name=name, status="running", process=process)
    assert {run.path.name: run.status for run in runs_in(tmp_path)} == {"dead": "killed", "alive": "running"}
    assert cells(drawn(runs_in(tmp_path), "x", 10))["dead"][0] == "killed"


def test_those_under_way_come_first_then_the_latest(tmp_path: Path) -> None:
    for name, status, ended in (
        ("early", "finished", "2026-01-01T10:00:00+00:00"),
        ("late", "failed", "2026-01-02T10:00:00+00:00"),
        ("new", "running", None),
        ("dead", "running", None),
        ("odd", "finished", "yesterday"),
    ):
        run = make_run(tmp_path / name)
        change_summary(run, name=name, status=status, ended=ended, started="2025-01-01T00:00:00+00:00")
    aged(tmp_path / "dead", 1e6)
    runs = runs_in(tmp_path)
    text = drawn(runs, "experiments", 10)
    assert list(cells(text)) == ["name", "new", "dead", "late", "early", "odd"] and "1 of 5 running" in text
    assert list(cells(drawn(runs, "experiments", 3))) == ["name", "new", "dead", "late"]
    assert drawn([], "experiments", 3) == "no run in experiments yet"


@pytest.mark.parametrize(
    "metrics", ["epoch,seconds\nnan,nan\n", "epoch,seconds\n1,\n", "epoch\n", "\x00", "epoch,epoch\n1"]
)
def test_damaged_metrics_do_not_stop_it(tmp_path: Path, metrics: str) -> None:
    run = make_run(tmp_path / "a", trainer__epochs="many")
    change_summary(run, status="running", name="mine", ended=5)
    (run / "metrics.csv").write_text(metrics)
    assert cells(drawn(runs_in(tmp_path), "experiments", 10))["mine"][0] == "running"


def test_a_run_that_is_under_way_is_followed_until_ctrl_c(tmp_path: Path) -> None:
    watching = subprocess.Popen(
        [sys.executable, str(ROOT / "compare.py"), "watch=true"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    first = watching.stdout.readline()
    training = start_command("train_segmentation.py", "name=live", "trainer.epochs=5000", *TINY, cwd=tmp_path)
    try:
        assert first == "no run in experiments yet\n"
        deadline, row = time.monotonic() + 300, ["", "", ""]
        while row[0] != "running" or not row[1].endswith("/5000") or row[-1] in ("", "-"):
            assert time.monotonic() < deadline and training.poll() is None
            row = cells(watching.stdout.readline()).get("live", row)
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=300)
    finally:
        watching.kill()
        os.killpg(training.pid, signal.SIGKILL)
        training.communicate()
    assert watching.returncode == 0 and err == "" and "\x1b" not in out
