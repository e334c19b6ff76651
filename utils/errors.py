"""Errors that the user can fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

TOO_MANY_OPEN_FILES = "too many open files: raise the limit with `ulimit -n 4096`"
NOT_WORDS = re.compile(r"\[Errno -?\d+\] | (?:object )?at 0x[0-9a-fA-F]+(?=>)")
"""Parts of the messages of libraries that mean nothing to a user: error numbers and memory addresses."""


class UserError(Exception):
    """A mistake of the user.

    The user sees only the message, on stderr, with exit code 2: a line or two that say what is wrong, where, and how to
    fix it.

    Attributes:
        resumable: whether the run can be resumed after the fix; it cannot if its config is wrong.
    """

    resumable = True

    def __init__(self, message: str) -> None:
        # A DataLoader raises the error of a worker again, with the worker's traceback before the message.
        kind = type(self)
        super().__init__(without_addresses(message.rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()))


class Occupied(UserError):
    """A run folder that another run has written or is writing to, and that must not be changed."""


class NotThere(UserError):
    """A data set or split that is not on disk."""


class DataFault(UserError):
    """A mistake in a file of a data set.

    Attributes:
        kind: kind of mistake, in a word or two.
    """

    kind = "fault"


class MissingPair(DataFault):
    """An image without a mask, a mask without an image, or one with several candidates."""

    kind = "missing pair"


class Unreadable(DataFault):
    """A file that is missing, empty, truncated, or not what it should be."""

    kind = "unreadable"


class SizeMismatch(DataFault):
    """An image and a mask of different sizes."""

    kind = "size"


class UnknownId(DataFault):
    """A mask with ids or colours outside the label set."""

    kind = "unknown id"


@contextmanager
def as_user_error(place: str) -> Iterator[None]:
    """Report an exception in the block, of an object that the user has chosen, as a `UserError` of one line.

    A lack of memory stays what it is, since that is not the object's fault.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{place}: {type(error).__name__}: {reason}") from error


def without_addresses(message: str) -> str:
    """Return a library's message without error numbers and memory addresses.

    '[Errno 28] No space left on device' becomes 'No space left on device', and '<_io.BytesIO object at 0x7f3a>'
    becomes '<_io.BytesIO>'.
    """
    return NOT_WORDS.sub("", message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean 'X'?' for the known word closest to `word`, or ''."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


class Pruned(Exception):
    """The search that a job belongs to has ended it early. The exit code is 0."""


class PartlyFailed(Exception):
    """Part of the work failed and the rest is done. The message goes to stderr; the exit code is 1."""


def partly_failed(count: int, total: str, done: str, reasons: Iterable[object]) -> PartlyFailed:
    """Return the error '2 of 5 images could not be read:', with a line for each reason."""
    return PartlyFailed("\n".join([f"{count} of {total} could not be {done}:", *map(str, reasons)]))


class LostProcess(Exception):
    """Another process of this training has ended and reported why. The exit code is 1."""
