"""Training with several processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest

from benchmarks import processes
from tests.printed import rows_of_table


def test_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The rates of separate trainings add up."""

    def rate(words: Sequence[str], environment: Mapping[str, str], launcher: Sequence[str]) -> float:
        several = "--nproc_per_node=2" in launcher
        assert several or launcher == ()
        return {("1", False): 50.0, ("2", False): 70.0, ("1", True): 80.0}[environment["OMP_NUM_THREADS"], several]

    monkeypatch.setattr(processes, "images_per_second", rate)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    processes.main()
    _, *rows = rows_of_table(capsys.readouterr().out)
    assert rows == [
        ["1 process, 1 thread", "50.0", "1.00"],
        ["1 process, 2 threads", "70.0", "1.40"],
        ["2 processes, 1 thread each", "80.0", "1.60"],
        ["2 separate trainings, 1 thread each", "100.0", "2.00"],
    ]
