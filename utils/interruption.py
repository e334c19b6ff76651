"""Ctrl-C and SIGTERM, answered where a run can be left in order."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Interrupted(Exception):
    """The run was asked to stop, and did, with its state saved.

    Attributes:
        signal: the signal's number; a shell expects the exit code 128 + that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class StopRequest:
    """While entered, notes the first Ctrl-C or SIGTERM instead of dying of it; a second one is not held back.

    Args:
        patient: hold back the others too. torchrun passes on what its processes have got from the terminal already,
            and kills them if they take too long.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient

    def __enter__(self) -> StopRequest:
        self._previous = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if not self._patient:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
