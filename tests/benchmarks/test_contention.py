"""Training beside busy processes."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from benchmarks import contention, processes
from tests.printed import rows_of_table


@pytest.mark.parametrize(
    ("busy", "cores", "share"),
    [
        (0, 2, 1.0),
        (1, 2, 1 / 2),
        (2, 2, 1 / 3),  # three processes for two cores
        (1, 8, 7 / 8),
        (8, 8, 1 / 9),
        (1, 1, 1 / 2),
    ],
)
def test_the_fair_share(busy: int, cores: int, share: float) -> None:
    assert contention.fair_share(busy, cores) == pytest.approx(share)


def test_rows() -> None:
    """Beside one process on two cores, half of 60 images per second is fair: 40 is more, 10 takes 3 times as long."""
    rates = {(0, "auto"): 60.0, (0, "2"): 50.0, (1, "auto"): 40.0, (1, "2"): 10.0}
    assert contention.rows_of(rates, cores=2) == [
        ["0", "auto", "60.0", "60.0", "1.00"],
        ["0", "2", "50.0", "60.0", "1.20"],
        ["1", "auto", "40.0", "30.0", "0.75"],
        ["1", "2", "10.0", "30.0", "3.00"],
    ]


def test_busy_processes_end_with_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), contention.busy_processes(2) as busy:
        pids = [process.pid for process in busy]
        assert len(pids) == 2 and all(process.poll() is None for process in busy)
        raise KeyboardInterrupt
    assert not any(psutil.pid_exists(pid) for pid in pids)


TRAINING = """
import os, pathlib, sys
run = pathlib.Path("experiments", "run")
run.mkdir(parents=True)
(run.parent / "latest").symlink_to("run")
rate = 80 if "trainer.threads=auto" in sys.argv and "OMP_NUM_THREADS" not in os.environ else 5
(run / "metrics.csv").write_text(f"epoch,images_per_second\\n1,1\\n2,{rate - 1}\\n3,{rate}\\n4,{rate + 9}\\n")
"""


def test_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The number of threads is left to the training, and the first epoch does not count."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    monkeypatch.setattr(processes, "SCRIPT", script)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    contention.main([])
    head, *rows = rows_of_table(capsys.readouterr().out)
    assert head == contention.HEAD
    assert rows == [
        ["0", "auto", "80.0", "80.0", "1.00"],
        ["0", "2", "5.0", "80.0", "16.00"],
        ["1", "auto", "80.0", "40.0", "0.50"],
        ["1", "2", "5.0", "40.0", "8.00"],
        ["2", "auto", "80.0", "26.7", "0.33"],
        ["2", "2", "5.0", "26.7", "5.33"],
    ]


def test_the_script_for_a_try(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(contention, "images_per_second", lambda words, environment: 10.0 * len(words))
    contention.main(["--smoke"])
    _, *rows = rows_of_table(capsys.readouterr().out)
    assert [row[:3] for row in rows] == [["0", "auto", "60.0"], ["1", "auto", "60.0"]]
