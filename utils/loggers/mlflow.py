"""MLflow."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.loggers.hyperparameters import hyperparameters
from utils.loggers.service import Service

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

log = logging.getLogger(__name__)

LOCAL = "sqlite:///experiments/mlflow.db"
STATUS = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
SEND_SECONDS = 5.0
"""Interval at which metrics are sent."""
MOST_METRICS, MOST_PARAMETERS, LONGEST_VALUE = 1000, 100, 6000  # limits of MLflow per call


class MLflow:
    """A run of MLflow, at a server or in a local database.

    Args:
        folder: the run folder.
        first_step: not used: `mlflow.json` has the steps sent.
        tracking_uri: address of a server or database; None is MLFLOW_TRACKING_URI, or else experiments/mlflow.db.
        experiment_name: the experiment of the run, which is created if it does not exist.
    """

    pictures = True

    def __init__(
        self,
        folder: str,
        first_step: int = 0,
        tracking_uri: str | None = None,
        experiment_name: str = "segmentation",
    ) -> None:
        # By default MLflow retries for minutes, while the training waits, and reports usage data.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or LOCAL
        self._experiment_name = experiment_name
        self._service = Service(folder, "mlflow")
        self._client: MlflowClient | None = None
        self._waiting: list[Metric] = []
        self._parameters: list[Param] = []  # of a new run, not sent yet
        self._steps: dict[str, int] = {}  # by kind, of waiting metrics
        self._sent = 0.0

    def begin(self, name: str, notes: str | None, config: dict[str, Any], options: Mapping[str, str | None]) -> None:
        self._name, self._notes = name, notes
        self._hyperparameters = hyperparameters(config, options)
        if self._send():
            log.info("mlflow: run %s in %s", self._service.run_id, self._tracking_uri)

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        kind = next(iter(values))
        if not self._service.is_new(kind, step):
            return
        now = int(time.time() * 1000)
        self._waiting += [Metric(_key(name), value, now, step) for name, value in values.items()]
        self._steps[kind] = step
        if time.monotonic() - self._sent > SEND_SECONDS:
            self._send()

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        def send() -> None:
            client, run_id = self._connected()
            client.log_image(run_id, image, key=name, step=step, synchronous=True)
            self._service.note_sent({name: step})

        self._send()  # so that no validation is lost if the process is killed
        if self._service.is_new(name, step):
            self._service.attempt(send)

    def close(self, status: str) -> None:
        def end() -> None:
            client, run_id = self._connected()
            client.set_terminated(run_id, STATUS.get(status, "FAILED"))

        if self._send(at_once=True):
            self._service.attempt(end)

    def _send(self, at_once: bool = False) -> bool:
        """Send the waiting metrics. If that fails, they keep waiting."""

        def send() -> None:
            client, run_id = self._connected()
            while self._waiting:
                client.log_batch(run_id, metrics=self._waiting[:MOST_METRICS])
                del self._waiting[:MOST_METRICS]
            self._service.note_sent(self._steps)

        self._sent = time.monotonic()
        return self._service.attempt(send, at_once)

    def _connected(self) -> tuple[MlflowClient, str]:
        """Return the client and the id of the run. The first call creates or resumes the run."""
        if self._client is None:
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):  # which log every table of a new database
                logging.getLogger(name).setLevel(logging.WARNING)
            database = _database(self._tracking_uri)
            if database is not None:
                database.parent.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(tracking_uri=self._tracking_uri)
            if self._service.run_id is not None and not self._resume(client, self._service.run_id):
                self._service.forget()
            if self._service.run_id is None:
                self._service.run_id = self._new_run(client)
                self._service.note_sent({})
            while self._parameters:
                client.log_batch(self._service.run_id, params=self._parameters[:MOST_PARAMETERS])
                del self._parameters[:MOST_PARAMETERS]
            self._client = client
        assert self._service.run_id is not None
        return self._client, self._service.run_id

    def _resume(self, client: MlflowClient, run_id: str) -> bool:
        """Set the run to running again. Return False if the store does not have it."""
        from mlflow.exceptions import MlflowException

        try:
            client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def _new_run(self, client: MlflowClient) -> str:
        from mlflow.entities import Param

        experiment = client.get_experiment_by_name(self._experiment_name)
        if experiment is None:
            database = _database(self._tracking_uri)  # pictures go beside a local one; None leaves it to the server
            artifacts = (database.parent / "mlflow_artifacts").absolute().as_uri() if database else None
            experiment_id = client.create_experiment(self._experiment_name, artifact_location=artifacts)
        else:
            experiment_id = experiment.experiment_id
        tags = {} if self._notes is None else {"mlflow.note.content": self._notes}
        run_id = client.create_run(experiment_id, tags=tags, run_name=self._name).info.run_id
        values = self._hyperparameters.items()
        self._parameters = [Param(_key(name), str(value)[:LONGEST_VALUE]) for name, value in values]
        return run_id


def _key(name: str) -> str:
    """Replace characters that MLflow does not allow in names."""
    return re.sub(r"[^\w/. -]", "_", name)


def _database(tracking_uri: str) -> Path | None:
    """Return the file of a local database."""
    return Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite:///") else None
