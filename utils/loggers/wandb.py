"""Weights & Biases."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from utils.errors import UserError
from utils.loggers.service import Service

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

EXIT_CODES = {"finished": 0, "pruned": 0, "failed": 1, "interrupted": 255}  # W&B itself uses 255 for Ctrl-C
INIT_SECONDS, FINISH_SECONDS = 30, 60
"""Timeouts of the service at the beginning and the end."""


class WandB:
    """A run of Weights & Biases. Its files are in `wandb/` in the run folder.

    Args:
        folder: the run folder.
        first_step: not used: `wandb.json` has the steps sent.
        project: name of the project.
        entity: user or team; None is the default of the account.
        mode: `online`, or `offline`, to be uploaded later with `wandb sync`.
        tags: tags of the run.

    Raises:
        UserError: online, but not logged in.
    """

    pictures = True

    def __init__(
        self,
        folder: str,
        first_step: int = 0,
        project: str = "segmentation",
        entity: str | None = None,
        mode: Literal["online", "offline"] = "online",
        tags: list[str] | None = None,
    ) -> None:
        import wandb

        self._cache = os.environ.get("WANDB_CACHE_DIR")
        self._folder, self._project, self._entity, self._mode = folder, project, entity, mode
        self._tags = tags
        self._service = Service(folder, "wandb")
        self._run: wandb.Run | None = None
        if mode == "online":
            problem = "there is no API key"
            try:
                known = wandb.login(prompt=False, verify=False)
            except (wandb.Error, ValueError) as error:  # a malformed key
                known, problem = False, str(error)
            if not known:
                raise UserError(f"logger=wandb: {problem}; run wandb login, or pass logger.mode=offline")

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        import wandb

        if self._cache is None:  # for its own logs; unset again for the next job of a sweep
            os.environ["WANDB_CACHE_DIR"] = str(Path(self._folder).absolute())

        def start(mode: Literal["online", "offline"]) -> None:
            self._run = wandb.init(
                dir=self._folder,
                project=self._project,
                entity=self._entity,
                mode=mode,
                tags=self._tags,
                id=self._service.run_id or secrets.token_hex(4),
                resume="allow",
                name=name,
                notes=notes,
                config=config | {"options": dict(options)},
                reinit="create_new",  # jobs of a sweep follow each other in one process
                settings=wandb.Settings(
                    console="off",  # train.log has it
                    silent=True,
                    init_timeout=INIT_SECONDS,
                    finish_timeout=FINISH_SECONDS,
                ),
            )
            self._service.run_id = self._run.id
            self._service.note_sent({})
            self._run.summary["status"] = "running"

        if not self._service.attempt(lambda: start(self._mode)) and self._mode == "online":
            self._service.attempt(lambda: start("offline"), at_once=True)
        if self._run is not None:
            offline = f"offline; upload it with: wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
            log.info("wandb: %s", offline if self._run.offline else self._run.url)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._send(next(iter(values)), values, step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        import wandb

        self._send(name, {name: wandb.Image(image)}, step)

    def _send(self, kind: str, values: Mapping[str, Any], step: int) -> None:
        run = self._run
        if run is None or not self._service.is_new(kind, step):
            return

        def send() -> None:
            run.log(dict(values), step=step)
            self._service.note_sent({kind: step})

        self._service.attempt(send)

    def close(self, status: str) -> None:
        run, self._run = self._run, None
        if self._cache is None:
            os.environ.pop("WANDB_CACHE_DIR", None)
        if run is None:
            return

        def end() -> None:
            run.summary["status"] = status
            run.finish(exit_code=EXIT_CODES.get(status, 1))

        self._service.attempt(end, at_once=True)
