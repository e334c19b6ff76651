"""Ctrl-C and SIGTERM, answered where a run can be left in order."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The run was asked to stop, and did, with its state saved.

    Attributes:
        signal: the signal's number; a shell expects the exit code 128 + that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


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

    def __enter__(self) -> StopRequest:
        self._previous = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
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
