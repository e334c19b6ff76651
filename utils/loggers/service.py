"""What the loggers of services have in common: a run's place there, and failures that must not end a training."""

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
"""Seconds in which a service that has failed is left alone."""


class Service:
    """A run at a service.

    Its id there and the last steps that it was told are kept in `<name>.json` in the run folder, so that a resumed run
    goes on in the same run and tells nothing twice.

    Attributes:
        run_id: None before the service knows the run.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._file, self._name = Path(folder, f"{name}.json"), name
        stored = self._stored()
        self.run_id: str | None = stored.get("id")
        self._steps: dict[str, int] = stored.get("steps", {})
        self._before = dict(self._steps)
        self._again, self._warned = 0.0, False

    def _stored(self) -> dict[str, Any]:
        """What an earlier session noted; {} where there is nothing, or a loss of power has left half a file."""
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(stored["id"], str | None) and all(isinstance(step, int) for step in stored["steps"].values()):
                return stored
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        log.warning("%s is damaged: the run begins anew at %s", self._file, self._name)
        return {}

    def is_new(self, kind: str, step: int) -> bool:
        """Whether the run, before it was resumed, has not told values of this kind at this step or later."""
        return step > self._before.get(kind, -1)

    def told(self, steps: dict[str, int]) -> None:
        """Notes the last steps, by kind, that the service has been told."""
        self._steps |= steps
        # Not synced to disk, which would take longer than a step may: a kill of the process does no harm.
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps({"id": self.run_id, "steps": self._steps}) + "\n", encoding="utf-8")
        temporary.replace(self._file)

    def attempt(self, tell: Callable[[], None], at_once: bool = False) -> bool:
        """Tells the service something; False where it failed, now or a moment ago.

        Args:
            at_once: do not leave a service alone that has just failed.
        """
        if time.monotonic() < self._again and not at_once:
            return False
        try:
            tell()
        except Exception as error:  # whatever a service's client raises must not end the training
            self._warn(error)
            self._again = time.monotonic() + PAUSE
            return False
        self._again = 0.0
        return True

    def _warn(self, error: Exception) -> None:
        """Says once that the service has failed."""
        reason = next(iter(str(error).splitlines()), "")
        if not self._warned:
            log.warning(
                "%s failed: %s: %.200s\nthe training goes on without it; metrics.csv has all numbers",
                *(self._name, type(error).__name__, reason),
            )
        self._warned = True

    def forget(self) -> None:
        """The service does not know this run any more: it begins anew there."""
        self.run_id = None
        self._steps.clear()
        self._before.clear()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
