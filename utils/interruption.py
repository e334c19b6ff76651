"""Ctrl-C and SIGTERM, answered where a run can be left in order."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPORTING = "<frozen importlib._bootstrap>"
AGAIN = 0.02
"""Seconds until a signal that came in an import is looked at again."""
AT_MOST = 5.0
"""Seconds that it is held back for; the import of PyTorch can take a minute where the disk is slow."""

_waiting: list[int] = []
"""The signal that is held back, if one is."""


class Interrupted(Exception):
    """The run was asked to stop, and did, with its state saved.

    Attributes:
        signal: the signal's number; a shell expects the exit code 128 + that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Terminated(SystemExit):
    """SIGTERM, as KeyboardInterrupt is Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def _nothing() -> None:
    pass


def end_at_once(clean_up: Callable[[], None] = _nothing) -> None:
    """From now on, have Ctrl-C and SIGTERM end the process without an exception.

    For the start and the end of a program: an exception in an import may be swallowed, replaced or abort the process.
    A signal that `raise_between_imports` still holds back ends it now.
    """
    if _waiting:
        _end(_waiting.pop(), clean_up)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: _end(number, clean_up))


def _end(number: int, clean_up: Callable[[], None]) -> NoReturn:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)  # a second one need not wait for the rest of this
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    with suppress(Exception):
        clean_up()
    with suppress(Exception):
        sys.stdout.flush()
    if os.environ.get("RANK", "0") == "0":  # of several processes the first speaks
        with suppress(OSError):
            os.write(2, b"interrupted\n" if number == signal.SIGINT else b"terminated\n")
    os._exit(128 + number)


def raise_between_imports(
    clean_up: Callable[[], None] = _nothing, before_termination: Callable[[], None] = _nothing
) -> None:
    """From now on, have Ctrl-C raise KeyboardInterrupt, and SIGTERM raise Terminated.

    During an import, or in a `__del__`, neither is raised before it is over: libraries swallow exceptions there. A
    second signal in that time, or an import that takes long, ends the process at once, after `clean_up`.

    Args:
        before_termination: called first at a SIGTERM.
    """
    deadline = 0.0

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal deadline
        if _waiting:
            _end(number, clean_up)
        if hasattr(signal, "setitimer") and _must_not_raise(frame):  # not on Windows
            _waiting.append(number)
            deadline = time.monotonic() + AT_MOST
            signal.signal(signal.SIGALRM, again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
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
    """Whether an exception might not get out of a frame: a module is imported in it, or an object deleted."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def held_back() -> Iterator[None]:
    """Answer signals only after what is done here, which takes no time."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WaitEnded(KeyboardInterrupt):
    """A signal came while the next batch was waited for. (A KeyboardInterrupt, since data sets may turn an Exception
    into an error of their file.)"""


class StopRequest:
    """While entered, notes the first Ctrl-C or SIGTERM instead of dying of it; a second one is not held back.

    Args:
        patient: hold back the others too. torchrun passes on what its processes have got from the terminal already,
            and kills them if they take too long.

    Attributes:
        signal: number of the signal that came, or None.
    """

    PATIENCE = 10.0
    """Seconds that one of several processes waits for its batch after a signal: the others count on its next step."""

    def __init__(self, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient
        self._waiting = False
        self._previous: dict[int, Any] = {}  # handlers to restore

    def __enter__(self) -> StopRequest:
        self._previous = {n: signal.signal(n, self._note) for n in SIGNALS}
        return self

    def answering(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches, and answer a signal while the next one is waited for: it may never come.

        Raises:
            WaitEnded: a signal came. Of several processes (`patient`), the signal's own exception after a while.
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
