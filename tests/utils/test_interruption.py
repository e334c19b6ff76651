"""Signals that are answered while a batch is waited for, and not lost in imports."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, _utils

from data.samples import Sample
from engine.checkpoint import load_checkpoint
from tests.conftest import ROOT
from tests.engine.small import Halves, fit
from utils.interruption import Interrupted, StopRequest, WaitEnded
from utils.run_folder import RunFolder


class Stuck(Halves):
    """Never gets sample 5."""

    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            time.sleep(1000)
        return super().__getitem__(index)


def first(samples: list) -> object:
    return samples[0].name


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_worker_that_never_answers(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.5)  # seconds in which PyTorch lets a worker end
    loader = DataLoader(Stuck(8), batch_size=1, collate_fn=first, num_workers=1)  # type: ignore[arg-type, var-annotated]
    before = signal.getsignal(number)
    seen: list[object] = []
    with StopRequest() as stop, pytest.raises(WaitEnded):

        def signal_in_the_last_wait() -> None:
            while len(seen) < 5 or not stop._waiting:
                time.sleep(0.01)
            os.kill(os.getpid(), number)

        threading.Thread(target=signal_in_the_last_wait, daemon=True).start()
        for name in stop.interruptible(loader):
            seen.append(name)
    assert seen == [f"sample {index}" for index in range(5)] and stop.signal == number
    assert signal.getsignal(number) is before


def test_the_others_of_several_processes_are_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that comes within it is trained on, so that all processes stop after the same step."""

    def batches() -> Iterator[int]:
        yield 1
        signal.raise_signal(signal.SIGINT)
        yield 2
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0.01)  # time passes
        assert 0 < left <= 100
        time.sleep(1000)

    monkeypatch.setattr(StopRequest, "PATIENCE", 100)
    seen = []
    with pytest.raises(KeyboardInterrupt) as raised, StopRequest(patient=True) as stop:
        for batch in stop.interruptible(batches()):
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
            signal.raise_signal(signal.SIGTERM)
            time.sleep(1000)
        return get(self, index)

    monkeypatch.setattr(Halves, "__getitem__", stuck)
    with pytest.raises(Interrupted, match="SIGTERM"):
        fit(tmp_path)
    progress = load_checkpoint(RunFolder(tmp_path).last)["training"]["progress"]
    assert progress["epoch"] == 0 and (progress["batch"] == 5) == (during == "validation")
    monkeypatch.setattr(Halves, "__getitem__", get)
    assert fit(tmp_path, resume=True).progress.epoch == 2


SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), {number})
    time.sleep(0.1)
except BaseException:
    print("swallowed")
{more}
"""
STARTS = {
    "at once": "interruption.end_at_once(lambda: print('cleaned up'))\nimport swallows\nprint('went on')",
    "between": "interruption.raise_between_imports()\nimport swallows\ntime.sleep(60)\nprint('went on')",
    "deleted": "interruption.raise_between_imports()\nclass A:\n    def __del__(self):\n        import swallows\n"
    "A()\ntime.sleep(60)\nprint('went on')",
}


def started(tmp_path: Path, start: str, number: int, more: str = "") -> subprocess.CompletedProcess:
    (tmp_path / "swallows.py").write_text(SWALLOWS.format(number=int(number), more=more))
    patience = "interruption.LONGEST_DELAY = 300"  # of a busy machine
    script = (
        f"import sys, time\nfrom utils import interruption\n{patience}\nsys.path.insert(0, {str(tmp_path)!r})\n{start}"
    )
    words = [sys.executable, "-c", script]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_an_import_ends_at_once(tmp_path: Path, number: int) -> None:
    done = started(tmp_path, STARTS["at once"], number)
    said = {signal.SIGINT: "interrupted\n", signal.SIGTERM: "terminated\n"}[signal.Signals(number)]
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "cleaned up\n", said)


WEAK = """
import os, weakref
interruption.raise_between_imports()

class Slow(dict):
    def __delitem__(self, key):
        os.kill(os.getpid(), {number})
        time.sleep(0.1)
        print("removed")

class Key:
    pass

key, kept = Key(), weakref.WeakKeyDictionary()
kept.data = Slow()
kept[key] = 1
del key
time.sleep(60)
print("went on")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_weak_reference_dies_is_raised_after_it(tmp_path: Path, number: int) -> None:
    """Python drops the exceptions of such a callback."""
    done = started(tmp_path, WEAK.format(number=int(number)), number)
    assert done.stdout == "removed\n" and "Exception ignored" not in done.stderr


ABSTRACT = """
import os
from abc import ABC
interruption.raise_between_imports()

class Slow(ABC):
    @classmethod
    def __subclasshook__(cls, other):
        os.kill(os.getpid(), {number})
        time.sleep(0.1)
        print("asked")
        return False

isinstance(1, Slow)
time.sleep(60)
print("went on")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_abstract_class_is_asked_is_raised_after_it(tmp_path: Path, number: int) -> None:
    """Libraries in C or Rust, such as pydantic, drop the exceptions of `isinstance`."""
    done = started(tmp_path, ABSTRACT.format(number=int(number)), number)
    assert done.stdout == "asked\n" and done.returncode in (-number, 128 + number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["between", "deleted"])
def test_a_signal_in_an_import_is_raised_after_it(tmp_path: Path, place: str, number: int) -> None:
    """Not in it, where it would be swallowed."""
    done = started(tmp_path, STARTS[place], number, "print('imported')")
    assert done.stdout == "imported\n" and "swallowed" not in done.stderr
    if number == signal.SIGINT:
        assert done.returncode == -signal.SIGINT and done.stderr.rstrip().endswith("KeyboardInterrupt")
    else:
        assert (done.returncode, done.stderr) == (143, "")


def test_an_import_that_takes_long_is_not_waited_for(tmp_path: Path) -> None:
    start = f"interruption.LONGEST_DELAY = 0.3\n{STARTS['between']}"
    done = started(tmp_path, start, signal.SIGTERM, "time.sleep(50)\nprint('imported')")
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated\n")


def test_a_second_signal_in_an_import_ends_at_once(tmp_path: Path) -> None:
    done = started(tmp_path, STARTS["between"], signal.SIGINT, "os.kill(os.getpid(), 15)\nprint('imported')")
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_ends_answers_the_signal_it_has_held_back(tmp_path: Path, number: int) -> None:
    """Python's own end would take away the handler of the alarm, which would kill the process."""
    start = "interruption.raise_between_imports()\nimport swallows\ninterruption.end_at_once()\nprint('went on')"
    done = started(tmp_path, f"interruption.RETRY_SECONDS = 100\n{start}", number, "print('imported')")
    said = {signal.SIGINT: "interrupted\n", signal.SIGTERM: "terminated\n"}[signal.Signals(number)]
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "imported\n", said)
