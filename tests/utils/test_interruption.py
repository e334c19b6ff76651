"""Signals that are answered while a batch is waited for."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from data.samples import Sample
from engine.checkpoint import load_checkpoint
from tests.engine.small import Halves, fit
from utils.interruption import Interrupted, StopRequest, WaitEnded
from utils.run_folder import RunFolder


class Stuck(Halves):
    """Never gets sample 5."""

    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            time.sleep(1000)
        return super().__getitem__(index)


def signal_later(number: int, seconds: float = 0.5) -> None:
    threading.Timer(seconds, os.kill, [os.getpid(), number]).start()


def first(samples: list) -> object:
    return samples[0].name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_never_answers(number: int) -> None:
    loader = DataLoader(Stuck(8), batch_size=1, collate_fn=first, num_workers=1)  # type: ignore[arg-type, var-annotated]
    before = signal.getsignal(number)
    seen = []
    with StopRequest() as stop:
        signal_later(number, 1)
        began = time.monotonic()
        with pytest.raises(WaitEnded):
            for name in stop.answering(loader):
                seen.append(name)
    assert seen == [f"sample {index}" for index in range(5)] and stop.signal == number
    assert time.monotonic() - began < 30  # PyTorch gives a stuck worker some seconds
    assert signal.getsignal(number) is before


def test_the_others_of_several_processes_are_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that comes within it is trained on, so that all processes stop after the same step."""

    def batches() -> Iterator[int]:
        yield 1
        time.sleep(1)
        yield 2
        time.sleep(1000)

    monkeypatch.setattr(StopRequest, "PATIENCE", 1.5)
    seen = []
    with pytest.raises(KeyboardInterrupt) as raised, StopRequest(patient=True) as stop:
        signal_later(signal.SIGINT)
        for batch in stop.answering(batches()):
            seen.append((batch, stop.signal))
    assert seen == [(1, None), (2, signal.SIGINT)]
    assert raised.type is KeyboardInterrupt  # as a second signal would
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0) and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.parametrize("during", ["training", "validation"])
def test_a_training_that_waits_for_a_sample_saves_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    get, length = Halves.__getitem__, 10 if during == "training" else 4

    def stuck(self: Halves, index: int) -> Sample:
        if self.length == length and index == 3:
            signal_later(signal.SIGTERM, 0.3)
            time.sleep(1000)
        return get(self, index)

    monkeypatch.setattr(Halves, "__getitem__", stuck)
    with pytest.raises(Interrupted, match="SIGTERM"):
        fit(tmp_path)
    progress = load_checkpoint(RunFolder(tmp_path).last)["training"]["progress"]
    assert progress["epoch"] == 0 and (progress["batch"] == 5) == (during == "validation")
    monkeypatch.setattr(Halves, "__getitem__", get)
    assert fit(tmp_path, resume=True).progress.epoch == 2
