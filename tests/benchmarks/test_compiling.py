"""What `trainer.compile=true` costs and brings."""

from __future__ import annotations

import functools
import os
import time

import pytest
import torch
from torch import nn

from benchmarks import compiling, networks
from tests.printed import rows_of_table


@pytest.mark.parametrize(
    ("compiled", "ratio", "rate", "to_compile", "pays_off"),
    [
        # 60 - 0.25 s to compile; an epoch of 10 steps saves 10 * 0.25 s: 59.75 / 2.5 epochs.
        (0.25, "0.50", "16.0", "60 s", "23.9 epochs"),
        (0.5, "1.00", "8.0", "60 s", "never"),
        (1.0, "2.00", "4.0", "59 s", "never"),
    ],
)
def test_a_row(compiled: float, ratio: str, rate: str, to_compile: str, pays_off: str) -> None:
    times = {"eager": 0.5, "compiled": compiled, "first": 60.0}
    row = compiling.row_of("enet", times, batch=4, steps_per_epoch=10)
    assert row == ["enet", "0.50 s", f"{compiled:.2f} s", ratio, rate, to_compile, pays_off]


def test_cpu_time_counts_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ compiler is a child."""
    monkeypatch.setattr(time, "process_time", lambda: 1.5)
    monkeypatch.setattr(os, "times", lambda: os.times_result((1.0, 0.4, 8.0, 0.25, 1000.0)))
    assert compiling.cpu_seconds() == 9.75


def test_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    # Inductor would call the C++ compiler, which takes many seconds.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setitem(networks.NETWORKS, "unet", lambda: nn.Conv2d(3, networks.CLASSES, 1))
    try:
        compiling.main(["unet", "--size", "8", "8", "--batch", "2", "--images", "5", "--rounds", "1"])
    finally:
        torch.set_num_threads(threads)
        torch._dynamo.reset()
    printed = capsys.readouterr().out
    assert "2 x 8 x 8" in printed
    (head, row) = rows_of_table(printed)
    assert head == compiling.HEAD and row[0] == "unet" and len(row) == len(head)
