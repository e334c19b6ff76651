"""How exceptions end a run: what is said, and the exit code."""

from __future__ import annotations

import errno
import logging
from typing import NamedTuple

from utils.errors import LostProcess, Occupied, PartlyFailed, UserError, file_handles
from utils.interruption import Interrupted, Terminated


class Ending(NamedTuple):
    """
    Attributes:
        error: the kind of exception.
        code: exit code; of an interrupted run 128 + the signal.
        message: what is said; {error} is the exception's own message.
        resume_hint: whether to name the command that continues the run.
        level: of the message in the log.
        is_failure: whether to note it in the folder of the run.
        traceback: whether to show it.
    """

    error: type[BaseException]
    code: int
    message: str = "{error}"
    resume_hint: bool = True
    level: int = logging.ERROR
    is_failure: bool = False
    traceback: bool = False


ENDINGS = (  # the first that fits
    Ending(Interrupted, 128, "{error}: stopped, with everything saved", level=logging.WARNING),
    Ending(KeyboardInterrupt, 130, "interrupted", level=logging.WARNING),
    Ending(Terminated, 143, "terminated", level=logging.WARNING),
    Ending(Occupied, 2, resume_hint=False),
    Ending(UserError, 2, is_failure=True),
    Ending(LostProcess, 1),
    Ending(PartlyFailed, 1, resume_hint=False, is_failure=True),
    Ending(BaseException, 1, "failed", is_failure=True, traceback=True),
)

NO_FILE_HANDLES = (errno.EMFILE, errno.ENFILE)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def ending_of(error: BaseException) -> Ending:
    """The entry of `ENDINGS` for an exception."""
    return next(ending for ending in ENDINGS if isinstance(error, ending.error))


def in_user_words(error: BaseException) -> BaseException:
    """A UserError for what the system refuses whatever the program does; any other exception as it is."""
    cause: BaseException | None = error
    seen = set[int]()  # `raise cause from error` makes a circle
    while cause is not None and id(cause) not in seen and not isinstance(cause, UserError):
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in NO_FILE_HANDLES:
            return UserError(file_handles())
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return UserError(f"{cause.filename or 'a file'}: cannot be written ({cause.strerror})")
        cause = cause.__cause__
    return error
