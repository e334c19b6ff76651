"""The error that is the user's to mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what the program was given.

    Its message is all that the user sees, on stderr, with exit code 2: a line or two that name the
    mistake, the place and the way out.
    """

    def __init__(self, message: str) -> None:
        # A DataLoader raises its worker's error anew, with the worker's traceback before the message.
        super().__init__(message.rpartition(f"{__name__}.UserError: ")[2].strip())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean 'X'?' for the known word closest to `word`, or ''."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


class PartlyFailed(Exception):
    """Some of the work could not be done, the rest is: the message goes to stderr, the exit code is 1."""
