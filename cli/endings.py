"""How exceptions end a run: message and exit code."""

from __future__ import annotations

import errno
import logging
from typing import NamedTuple

from utils.errors import TOO_MANY_OPEN_FILES, LostProcess, Occupied, PartlyFailed, Pruned, UserError
from utils.interruption import Interrupted, Terminated


class Ending(NamedTuple):
    """How a kind of exception ends a run.

    Attributes:
        error: the kind of exception.
        code: exit code; of an interrupted run 128 + the signal.
        message: {error} is the exception's message.
        resume_hint: whether to add the command that resumes the run.
        level: log level of the message.
        is_failure: whether summary.json gets the status `failed`.
        traceback: whether to show it.
    """

    error: type[BaseException]
    code: int
    message: str = "{error}"
    resume_hint: bool = True
    level: int = logging.ERROR
    is_failure: bool = False
    traceback: bool = False


ENDINGS = (
    Ending(Interrupted, 128, "{error}: stopped, with everything saved", level=logging.WARNING),
    Ending(KeyboardInterrupt, 130, "interrupted", level=logging.WARNING),
    Ending(Terminated, 143, "terminated", level=logging.WARNING),
    Ending(Occupied, 2, resume_hint=False),
    Ending(UserError, 2, is_failure=True),
    Ending(Pruned, 0, resume_hint=False, level=logging.INFO),
    Ending(LostProcess, 1),
    Ending(PartlyFailed, 1, resume_hint=False, is_failure=True),
    Ending(BaseException, 1, "failed", is_failure=True, traceback=True),
)
"""The first that matches counts."""

NO_FILE_HANDLES = (errno.EMFILE, errno.ENFILE)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def as_resource_error(error: BaseException) -> BaseException:
    """Return a UserError if the disk is full or too many files are open, else the exception itself."""
    cause: BaseException | None = error
    seen = set[int]()  # exceptions may cause each other
    while cause is not None and id(cause) not in seen and not isinstance(cause, UserError):
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in NO_FILE_HANDLES:
            return UserError(TOO_MANY_OPEN_FILES)
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return UserError(f"{cause.filename or 'a file'}: cannot be written ({cause.strerror})")
        cause = cause.__cause__
    return error
