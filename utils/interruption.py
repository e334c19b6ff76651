"""Handle Ctrl-C and SIGTERM where a run can stop cleanly."""

from __future__ import annotations

import abc
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SWALLOWING = {
    "<frozen importlib._bootstrap>",  # imports
    *(kind.__init__.__code__.co_filename for kind in (weakref.WeakKeyDictionary, weakref.WeakSet)),
    abc.ABCMeta.__instancecheck__.__code__.co_filename,  # isinstance, as pydantic calls it
}
"""Files whose callers may swallow an exception."""
RETRY_SECONDS = 0.02
"""Interval at which a signal that arrived during an import is tried again."""
LONGEST_DELAY = 5.0
"""Seconds until it ends the process anyway: on a slow disk, the import of PyTorch can take a minute."""

_waiting: list[int] = []
"""The signal that is delayed, if any."""


class Interrupted(Exception):
    """A signal stopped the run, and its state is saved.

    Attributes:
        signal: number of the signal. The exit code is 128 + that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Terminated(SystemExit):
    """SIGTERM arrived, as KeyboardInterrupt is raised for Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def end_at_once(clean_up: Callable[[], None] = lambda: None) -> None:
    """From now on, let Ctrl-C and SIGTERM end the process without an exception.

    Use it at the start and the end of a program: an exception during an import may be swallowed or replaced, or abort
    the process. A signal that `raise_between_imports` has delayed ends the process now.
    """
    if _waiting:
        _end(_waiting.pop(), clean_up)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: _end(number, clean_up))


def _end(number: int, clean_up: Callable[[], None]) -> NoReturn:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)  # a second one ends the process at once
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    with suppress(Exception):
        clean_up()
    with suppress(Exception):
        sys.stdout.flush()
    if os.environ.get("RANK", "0") == "0":  # only the first process reports it
        with suppress(OSError):
            os.write(2, b"interrupted\n" if number == signal.SIGINT else b"terminated\n")
    os._exit(128 + number)


def raise_between_imports(
    clean_up: Callable[[], None] = lambda: None, before_termination: Callable[[], None] = lambda: None
) -> None:
    """From now on, let Ctrl-C raise KeyboardInterrupt, and SIGTERM raise Terminated.

    During an import, a `__del__` or an `isinstance`, where libraries swallow exceptions, they are raised after it. A
    second signal in that time, or a long import, ends the process at once, after `clean_up`.

    Args:
        before_termination: called at a SIGTERM before the exception is raised.
    """
    deadline = 0.0

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal deadline
        if _waiting:
            _end(number, clean_up)
        if hasattr(signal, "setitimer") and _must_not_raise(frame):  # not on Windows
            _waiting.append(number)
            deadline = time.monotonic() + LONGEST_DELAY
            signal.signal(signal.SIGALRM, again)
            signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS, RETRY_SECONDS)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            before_termination()
            raise Terminated

    def again(_: int, frame: FrameType | None) -> None:
        if not _must_not_raise(frame):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(_waiting.pop())
        elif time.monotonic() > deadline:
            _end(_waiting.pop(), clean_up)

    for number in SIGNALS:
        signal.signal(number, answer)


def _must_not_raise(frame: FrameType | None) -> bool:
    """Whether an exception might be swallowed in a frame: in one of `SWALLOWING`, or in a `__del__`."""
    while frame is not None:
        if frame.f_code.co_filename in SWALLOWING or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def held_back() -> Iterator[None]:
    """Delay signals until the end of the block, which must be short."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WaitEnded(KeyboardInterrupt):
    """A signal arrived while the next batch was awaited.

    It is a KeyboardInterrupt because data sets may report an Exception as a mistake in a file.
    """


class StopRequest:
    """A context manager that notes the first Ctrl-C or SIGTERM instead of raising. A second one raises.

    Args:
        patient: also note later signals. torchrun forwards signals that its processes have already received from the
            terminal, and kills processes that take too long.

    Attributes:
        signal: number of the signal that arrived, or None.
    """

    PATIENCE = 10.0
    """Seconds that a process still waits for its batch after a signal, because the other processes need its step."""

    def __init__(self, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient
        self._waiting = False
        self._previous: dict[int, Any] = {}  # handlers to restore

    def __enter__(self) -> StopRequest:
        self._previous = {n: signal.signal(n, self._note) for n in SIGNALS}
        return self

    def interruptible(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches. A signal ends the wait for the next one, which may never come.

        Raises:
            WaitEnded: a signal arrived. With `patient`, the exception of the signal, after a while.
        """
        iterator = iter(batches)
        while True:
            self._waiting = True
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                self._waiting = False
            yield batch

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if self._patient:
            if hasattr(signal, "setitimer"):  # not on Windows
                if signal.SIGALRM not in self._previous:
                    self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
                signal.setitimer(signal.ITIMER_REAL, self.PATIENCE, 1.0)
            return
        self._restore()
        if self._waiting:
            raise WaitEnded

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        if self._waiting and self.signal is not None:
            self._restore()
            signal.raise_signal(self.signal)

    def _restore(self) -> None:
        if len(self._previous) > 2:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
