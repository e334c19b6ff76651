"""How many threads a training uses."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import torch

from engine import threads, trainer
from engine.threads import idle_cores, set_threads, usual_threads


@pytest.fixture(autouse=True)
def _four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    usual_threads.cache_clear()
    yield
    usual_threads.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("idle", "expected"), [(4.0, 4), (3.8, 4), (3.6, 3), (2.0, 2), (1.5, 1), (0.9, 1), (0.0, 1), (64.0, 4)]
)
def test_one_thread_per_idle_core(monkeypatch: pytest.MonkeyPatch, idle: float, expected: int) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: idle)
    set_threads("auto")
    assert torch.get_num_threads() == expected


def test_a_job_of_a_sweep_does_not_get_the_threads_of_the_job_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for idle, threads_of_job, expected in ((1.0, "auto", 1), (4.0, "auto", 4), (4.0, 2, 2), (4.0, "auto", 4)):
        monkeypatch.setattr(threads, "idle_cores", lambda idle=idle: idle)
        set_threads(threads_of_job)  # type: ignore[arg-type]
        assert torch.get_num_threads() == expected


def test_what_is_typed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: 0.0)
    set_threads(3)
    assert torch.get_num_threads() == 3


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    set_threads("auto")
    assert torch.get_num_threads() == 4


def test_idle_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cores 0 to 3, at 100, 50, 0 and 10 %, this process may use 1 to 3."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [100.0, 50.0, 0.0, 10.0])
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {1, 2, 3}, raising=False)
    assert idle_cores() == pytest.approx(0.5 + 1 + 0.9)


def test_beside_a_program_on_each_core() -> None:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(psutil.cpu_count() or 1)]
    try:
        set_threads("auto")
        assert torch.get_num_threads() == 1
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_what_is_typed_counts_beside_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "choose_device", lambda _: torch.device("meta"))
    monkeypatch.setattr(threads, "idle_cores", lambda: 0.0)
    trainer.Trainer(epochs=1, amp="off")
    assert torch.get_num_threads() == 4
    trainer.Trainer(epochs=1, amp="off", threads=3)
    assert torch.get_num_threads() == 3
