"""What W&B gets, read back from its files."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import runs_in
from tests.in_process import assert_refused, run_here
from tests.utils.logged_values import CONFIG, OPTIONS, PICTURE, WORDS, interrupted_and_resumed, series
from tests.utils.wandb_file import history, of_kind, records
from train_segmentation import train
from utils.loggers import WandB


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without a W&B account, which must stay empty."""
    pytest.importorskip("wandb", reason="W&B is optional: pip install -r requirements-loggers.txt")
    home = tmp_path / "home"
    home.mkdir()
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_CACHE_DIR", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # which it would look for at home
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "300")  # on a busy machine, its own process is slow to start
    for name in ("INIT_SECONDS", "FINISH_SECONDS"):
        monkeypatch.setattr(f"utils.loggers.wandb.{name}", 300)
    (tmp_path / "run").mkdir()
    yield tmp_path / "run"
    assert list(home.iterdir()) == [] and "WANDB_CACHE_DIR" not in os.environ


def sessions(folder: Path) -> list[list[Any]]:
    """The records of each session, in their order."""
    return [records(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def test_wandb(at_home: Path) -> None:
    def logger() -> WandB:
        return WandB(str(at_home), mode="offline", project="streets", tags=["one"])

    def later() -> WandB:
        time.sleep(1.1)  # W&B names its folders after the second
        return logger()

    interrupted_and_resumed(logger(), later)
    first, second = sessions(at_home)
    runs = [of_kind(session, "run")[0] for session in (first, second)]
    assert runs[0].run_id == runs[1].run_id != ""
    for run in runs:
        assert (run.project, run.display_name, run.notes, list(run.tags)) == ("streets", "a run", "a remark", ["one"])
    config = {u.key: yaml.safe_load(u.value_json) for u in runs[0].config.update}
    assert config["model"] == CONFIG["model"] and config["options"] == OPTIONS
    assert [step for step, _ in history(first)] == [1, 2, 3] and [step for step, _ in history(second)] == [4]
    found: dict[str, list[tuple[int, float]]] = {}
    for step, values in history(first) + history(second):
        for name, value in values.items():
            if not name.startswith("predictions"):
                found.setdefault(name, []).append((step, value))
    assert {name: sorted(values) for name, values in found.items()} == series()
    for session, step, expected in ((first, 2, PICTURE), (second, 4, 255 - PICTURE)):
        (path,) = (values["predictions.path"] for s, values in history(session) if s == step)
        (file,) = at_home.glob(f"wandb/offline-run-*/files/{path}")
        np.testing.assert_array_equal(np.asarray(Image.open(file).convert("RGB")), expected)
    assert [of_kind(session, "exit")[0].exit_code for session in (first, second)] == [255, 0]
    assert [summary(session)["status"] for session in (first, second)] == ["interrupted", "finished"]
    assert summary(second)["val/iou/sky"] == 0.75


def summary(session: list[Any]) -> dict[str, Any]:
    updates = [u for record in of_kind(session, "summary") for u in record.update]
    return {u.key or ".".join(u.nested_key): yaml.safe_load(u.value_json) for u in updates}


def test_wandb_that_cannot_be_reached_goes_on_offline(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    init = wandb.init

    def unreachable(**options: Any) -> Any:
        if options["mode"] == "online":
            raise wandb.errors.CommError("no route to the host")
        return init(**options)

    monkeypatch.setattr(wandb, "init", unreachable)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    logger = WandB(str(at_home))
    logger.begin("a run", None, CONFIG, OPTIONS)
    logger.log({"step/loss": 1.0}, 1)
    logger.close("failed")
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and "CommError: no route to the host" in warnings[0] and "metrics.csv" in warnings[0]
    (session,) = sessions(at_home)
    assert history(session) == [(1, {"step/loss": 1.0})] and of_kind(session, "exit")[0].exit_code == 1


def test_wandb_that_fails_later_ends_nothing(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    logger = WandB(str(at_home), mode="offline")
    logger.begin("a run", None, CONFIG, OPTIONS)

    def fail(*_: Any, **__: Any) -> None:
        raise wandb.Error("the service is gone")

    monkeypatch.setattr(wandb.Run, "log", fail)
    for step in range(3):
        logger.log({"step/loss": 1.0}, step)
        logger.picture("predictions", PICTURE, step)
    logger.close("finished")
    assert [r.message.count("the service is gone") for r in caplog.records if r.levelno == logging.WARNING] == [1]


def test_wandb_without_a_key_is_refused(at_home: Path, tmp_path: Path) -> None:
    done = run_here(train, "train", "logger=wandb", *WORDS, cwd=tmp_path)
    assert_refused(done, "no API key", "wandb login", "logger.mode=offline")
    assert runs_in(tmp_path) == []


def test_without_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = run_here(train, "train", "logger=wandb", *WORDS, cwd=tmp_path)
    assert_refused(done, "needs wandb", "pip install -r requirements-loggers.txt")
    assert runs_in(tmp_path) == []
