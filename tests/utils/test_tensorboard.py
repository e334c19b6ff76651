"""TensorBoard's events, read back with its own reader."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.summary.writer import event_file_writer

from inference.predictor import Predictor
from tests.utils.logged_values import CONFIG, HYPERPARAMETERS, OPTIONS, PICTURE, interrupted_and_resumed, series
from utils.loggers import TensorBoard
from utils.loggers.hyperparameters import hyperparameters
from utils.run_folder import RunFolder


def test_hyperparameters() -> None:
    assert hyperparameters(CONFIG, OPTIONS) == HYPERPARAMETERS


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), {"images": 0, "scalars": 0}).Reload()


def scalars(accumulator: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The number that a process gives its files: of files of one second, 10 would be read before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    interrupted_and_resumed(TensorBoard(str(tmp_path)), lambda: TensorBoard(str(tmp_path), first_step=2))
    found = events(tmp_path)
    assert scalars(found) == series()
    images = [(e.step, decoded(e.encoded_image_string)) for e in found.Images("predictions")]
    assert [step for step, _ in images] == [2, 4]
    np.testing.assert_array_equal(images[0][1], PICTURE)
    np.testing.assert_array_equal(images[1][1], 255 - PICTURE)
    assert tab(found) == ({**HYPERPARAMETERS, "seed": 4}, STATUS_SUCCESS)
    assert not [path for path in (tmp_path / "tensorboard").iterdir() if path.is_dir()]


def test_the_hparams_tab_of_a_run_that_failed(tmp_path: Path) -> None:
    logger = TensorBoard(str(tmp_path))
    logger.begin("a run", None, CONFIG, OPTIONS)
    logger.close("failed")
    assert tab(events(tmp_path)) == (HYPERPARAMETERS, STATUS_FAILURE)


def decoded(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)))


def tab(found: EventAccumulator) -> tuple[dict[str, Any], Any]:
    """What the HParams tab lists: values and status."""
    content = found.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return values, end.status


def test_the_events_of_a_run(finished_run: Path) -> None:
    found, rows = events(finished_run), RunFolder(finished_run).read_rows()
    told = scalars(found)
    for name in ("train/loss", "train/soft_iou", "lr", "val/miou", "val/iou/sky", "val/iou/person", "seconds"):
        assert told[name] == [(row["step"], pytest.approx(row[name])) for row in rows]
    best = max(rows, key=lambda row: row["val/miou"])
    for name in ("val/miou", "val/loss", "val/pixel_accuracy"):
        assert told[f"best/{name}"][-1][1] == pytest.approx(best[name])
    assert told["best/epoch"][-1] == (best["step"], best["epoch"])
    values, status = tab(found)
    assert status == STATUS_SUCCESS
    assert values["model"] == "enet" and values["trainer.epochs"] == 2 and values["data.batch_size"] == 4
    picture = decoded(found.Images("predictions")[-1].encoded_image_string)
    predictor = Predictor.from_checkpoint(finished_run / "checkpoints" / "last.pt")
    for row, truth in enumerate(np.split(picture[np.arange(140) % 36 < 32], 4)):
        image, prediction = truth[:, :32], truth[:, 72:]
        expected = predictor.labels.palette()[predictor.predict(image)]
        np.testing.assert_array_equal(prediction, expected, err_msg=f"row {row}")
