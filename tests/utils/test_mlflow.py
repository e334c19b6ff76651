"""What MLflow gets, read back with its own client from a local store."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import runs_in
from tests.in_process import assert_refused, run_here, succeeded
from tests.utils.logged_values import (
    CONFIG,
    HYPERPARAMETERS,
    LOGGED,
    OPTIONS,
    PICTURE,
    WORDS,
    interrupted_and_resumed,
    series,
)
from train_segmentation import train
from utils.loggers import MLflow
from utils.run_folder import RunFolder


@pytest.fixture(scope="module")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store without runs, which takes MLflow seconds to make."""
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name, reason="MLflow is optional: pip install -r requirements-loggers.txt")
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, new_database: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store."""
    (tmp_path / "mlflow.db").write_bytes(new_database)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def only_run(store: str, experiment: str = "segmentation") -> tuple[Any, Any]:
    """The client, and the only run of the experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return client, run


def metrics(client: Any, run: Any) -> dict[str, list[tuple[int, float]]]:
    names = run.data.metrics
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: sorted((m.step, m.value) for m in history) for name, history in histories.items()}


def test_mlflow(tmp_path: Path, store: str) -> None:
    def logger() -> MLflow:
        return MLflow(str(tmp_path), tracking_uri=store, experiment_name="streets")

    first = logger()
    interrupted_and_resumed(first, logger)
    client, run = only_run(store, "streets")
    assert metrics(client, run) == series()
    assert run.data.params == {name: str(value) for name, value in HYPERPARAMETERS.items()}
    assert run.info.run_name == "a run" and run.data.tags["mlflow.note.content"] == "a remark"
    assert run.info.status == "FINISHED"
    files = sorted((tmp_path / "mlflow_artifacts").rglob("predictions+step+*.png"))
    assert [file.name.split("+")[2] for file in files] == ["2", "4"]
    np.testing.assert_array_equal(np.asarray(Image.open(files[0])), PICTURE)


@pytest.mark.parametrize(("status", "expected"), [("failed", "FAILED"), ("interrupted", "KILLED")])
def test_how_an_mlflow_run_ends(tmp_path: Path, store: str, status: str, expected: str) -> None:
    logger = MLflow(str(tmp_path), tracking_uri=store)
    logger.begin("a run", None, CONFIG, OPTIONS)
    assert only_run(store)[1].info.status == "RUNNING"
    logger.log({"val/iou/Straße, nass": 0.5}, 1)
    logger.close(status)
    client, run = only_run(store)
    assert run.info.status == expected and metrics(client, run) == {"val/iou/Straße_ nass": [(1, 0.5)]}


@pytest.mark.parametrize("since", [0, 2])
def test_what_mlflow_could_not_take_is_sent_later(
    since: int, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, and there is one run, if batches fail since a step; 0: those of the parameters, too."""
    from mlflow import MlflowClient

    logger = MLflow(str(tmp_path), tracking_uri=store)
    monkeypatch.setattr("utils.loggers.mlflow.SEND_SECONDS", 0)
    log_batch, calls = MlflowClient.log_batch, []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise ConnectionError("the server is gone")

    if since == 0:
        monkeypatch.setattr(MlflowClient, "log_batch", fail)
    logger.begin("a run", None, CONFIG, OPTIONS)
    for step, values in LOGGED:
        if step == since:
            monkeypatch.setattr(MlflowClient, "log_batch", fail)
        logger.log(values, step)
    assert len(calls) == 1  # it is left alone for a minute
    assert [r.message.count("the server is gone") for r in caplog.records if r.levelno == logging.WARNING] == [1]
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    logger.close("finished")
    client, run = only_run(store)
    assert metrics(client, run) == series() and run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in HYPERPARAMETERS.items()}


def test_mlflow_that_is_not_there_ends_nothing(tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    logger = MLflow(str(tmp_path), tracking_uri="http://127.0.0.1:9")
    logger.begin("a run", None, CONFIG, OPTIONS)
    for step, values in LOGGED:
        logger.log(values, step)
        logger.picture("predictions", PICTURE, step)
    logger.close("finished")
    assert time.monotonic() - began < 100
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING and "mlflow failed" in r.message]
    assert len(warnings) == 1 and len(warnings[0].splitlines()) == 2


@pytest.mark.parametrize("package", ["mlflow", "alembic"])
def test_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = run_here(train, "train", "logger=mlflow", *WORDS, cwd=tmp_path)
    assert_refused(done, f"needs {package}", "pip install -r requirements-loggers.txt")
    assert runs_in(tmp_path) == []


def test_a_run_that_goes_on_in_mlflow(tmp_path: Path, store: str) -> None:
    words = ("logger=mlflow", f"logger.tracking_uri={store}", "trainer.epochs=1", "trainer.log_every=1")
    succeeded(run_here(train, "train", *words, "notes=first", *WORDS, cwd=tmp_path))
    (run_folder,) = runs_in(tmp_path)
    succeeded(run_here(train, "train", f"resume={run_folder}", "trainer.epochs=2", cwd=tmp_path))
    client, run = only_run(store)
    rows, told = RunFolder(run_folder).read_rows(), metrics(client, run)
    for name in set(rows[0]) - {"epoch", "step"}:
        assert told[name] == [(row["step"], pytest.approx(row[name])) for row in rows], name
    assert [step for step, _ in told["step/loss"]] == [1, 2, 3, 4]
    assert run.info.run_name == run_folder.name and run.info.status == "FINISHED"
    assert run.data.params["model"] == "enet" and run.data.params["trainer.epochs"] == "1"
    assert run.data.metrics["best/val/miou"] == pytest.approx(max(row["val/miou"] for row in rows))
