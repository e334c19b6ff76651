"""What loggers of tracking services share: the id of the run there, and failures that must not end a training."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PAUSE = 60.0
"""Seconds without attempts after a failure."""


class Service:
    """A run at a tracking service.

    Its id there and the last steps sent are stored in `<name>.json` in the run folder, so that a resumed run continues
    the same run there and sends nothing twice.

    Attributes:
        run_id: None before the service has the run.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._file, self._name = Path(folder, f"{name}.json"), name
        stored = self._stored()
        self.run_id: str | None = stored.get("id")
        self._steps: dict[str, int] = stored.get("steps", {})
        self._before = dict(self._steps)
        self._again, self._warned = 0.0, False

    def _stored(self) -> dict[str, Any]:
        """Read `<name>.json`; {} if it does not exist, or is damaged by a power failure."""
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(stored["id"], str | None) and all(isinstance(step, int) for step in stored["steps"].values()):
                return stored
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        log.warning("%s is damaged: logging to a new run of %s", self._file, self._name)
        return {}

    def is_new(self, kind: str, step: int) -> bool:
        """Whether no values of this kind were sent at this step or later before the run was resumed."""
        return step > self._before.get(kind, -1)

    def note_sent(self, steps: dict[str, int]) -> None:
        """Store the last steps, by kind, that the service has received."""
        self._steps |= steps
        # Not synced to disk, which would take too long per step. If the process is killed, the file is still written.
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"id": self.run_id, "steps": self._steps}) + "\n", encoding="utf-8")
        temporary.replace(self._file)

    def attempt(self, send: Callable[[], None], at_once: bool = False) -> bool:
        """Send something to the service. Return False if it fails, or has failed less than `PAUSE` ago.

        Args:
            at_once: send even if it has just failed.
        """
        if time.monotonic() < self._again and not at_once:
            return False
        try:
            send()
        except Exception as error:  # a client of a service may raise anything
            if not self._warned:
                reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
                log.warning(
                    "%s failed: %s\nthe training continues without it; metrics.csv has all numbers", self._name, reason
                )
            self._warned = True
            self._again = time.monotonic() + PAUSE
            return False
        self._again = 0.0
        return True

    def forget(self) -> None:
        """Start a new run there, because the service has deleted this one."""
        self.run_id = None
        self._steps.clear()
        self._before.clear()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
