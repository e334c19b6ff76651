"""How many threads a training uses."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from engine import threads, trainer
from engine.threads import Load, adapt_threads, idle_cores, load_so_far, set_threads, usual_threads
from tests.engine.small import fit
from utils.run_folder import RunFolder


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


def test_what_is_typed_and_the_environment_count_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: 0.0)
    set_threads(3)
    assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    set_threads("auto")
    assert torch.get_num_threads() == 4


def test_idle_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cores 0 to 3, at 100, 50, 0 and 10 %, this process may use 1 to 3."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [100.0, 50.0, 0.0, 10.0])
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {1, 2, 3}, raising=False)
    assert idle_cores() == pytest.approx(0.5 + 1 + 0.9)


def test_beside_a_program_on_each_core() -> None:
    words = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    burners = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(psutil.cpu_count() or 1)]
    try:
        for burner in burners:
            assert burner.stdout is not None
            burner.stdout.readline()
        set_threads("auto")
        assert torch.get_num_threads() == 1
    finally:
        for burner in burners:
            burner.kill()
            burner.communicate()


def test_what_is_typed_counts_beside_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "choose_device", lambda _: torch.device("meta"))
    monkeypatch.setattr(threads, "idle_cores", lambda: 0.0)
    trainer.Trainer(epochs=1, amp="off")
    assert torch.get_num_threads() == 4
    trainer.Trainer(epochs=1, amp="off", threads=3)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("seconds", "all_programs", "own", "expected"),
    [
        (20, 0, 0, 4),
        (20, 80, 80, 4),  # four cores, all for this training
        (20, 80, 20, 1),  # one for the training, three for others
        (20, 40, 20, 3),
        (20, 45, 20, 3),  # others use 1.25 cores and leave most of the second
        (20, 50, 20, 2),
        (20, 10, 15, 4),  # counted at slightly different times
        (5, 20, 0, 2),  # too early: the number stays
    ],
)
def test_threads_adapt_to_what_others_use(
    monkeypatch: pytest.MonkeyPatch, seconds: float, all_programs: float, own: float, expected: int
) -> None:
    monkeypatch.setattr(threads, "_cores", lambda _: [0, 1, 2, 3])
    usual_threads()
    torch.set_num_threads(2)
    last, now = Load(100.0, 7.0, 3.0), Load(100.0 + seconds, 7.0 + all_programs, 3.0 + own)
    monkeypatch.setattr(threads, "load_so_far", lambda: now)
    assert adapt_threads(last) == (last if seconds == 5 else now)
    assert torch.get_num_threads() == expected


def test_own_load_counts_children() -> None:
    """0.3 seconds of CPU time of this process, of one that has ended, and of one that goes on."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    before = load_so_far()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    subprocess.run([sys.executable, "-c", burn], check=True)
    with subprocess.Popen(
        [sys.executable, "-c", burn + "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        after = load_so_far()
        child.kill()
    assert after.own - before.own >= 0.85
    assert after.all_programs - before.all_programs >= 0.7  # in steps of 0.01 per core
    assert after.at > before.at


def test_a_load_that_begins_during_a_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Others use no core before the first epoch, three before the second, none before the third."""
    numbers = [4]  # instead of threads, which would be in each other's way
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: numbers[-1])
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.setattr(threads, "_cores", lambda _: [0, 1, 2, 3])
    monkeypatch.setattr(threads, "idle_cores", lambda: 4.0)
    RunFolder(tmp_path).update_summary(environment={"threads": 4, "torch": "2.9"})
    loads = iter(Load(100.0 * i, busy, 0.0) for i, busy in enumerate((0, 0, 300, 300)))
    monkeypatch.setattr("engine.loop.load_so_far", lambda: next(loads))
    monkeypatch.setattr(threads, "load_so_far", lambda: next(loads))
    fit(tmp_path, epochs=3)
    assert numbers == [4, 4, 1, 4]  # the second by set_threads
    assert RunFolder(tmp_path).read_summary()["environment"] == {"threads": None, "torch": "2.9"}


@pytest.mark.parametrize("options", [{"threads": 4}, {"compile": True}, {}])
def test_a_number_that_is_fixed_does_not_change(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: 4.0)
    if not options:
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert not trainer.Trainer(epochs=1, **options).adapts_threads
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert trainer.Trainer(epochs=1).adapts_threads
