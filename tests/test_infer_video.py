"""Masks for videos, as a user asks for them."""

import signal
import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from infer import infer
from inference.predictor import Predictor
from inference.video import Frames, segment
from tests.conftest import start_command, wait_for
from tests.in_process import run_here
from utils.interruption import Interrupted


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(infer, "infer", *words, cwd=cwd)


def write_video(path: Path, count: int) -> None:
    """Write a video whose frames get lighter."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, 10, (64, 48))
    for i in range(count):
        writer.write(np.full((48, 64, 3), 30 * i % 256, np.uint8))
    writer.release()


def frames_in(path: Path) -> int:
    """Return how many frames a player finds."""
    capture = cv2.VideoCapture(str(path))
    return sum(1 for _ in iter(lambda: capture.read()[0], False))


@pytest.mark.parametrize("format_", ["[mask,overlay,color]", "side_by_side"])
def test_a_video(tmp_path: Path, finished_run: Path, format_: str) -> None:
    write_video(tmp_path / "drive.mp4", 7)
    done = run(f"checkpoint={finished_run}", "input=drive.mp4", f"format={format_}", cwd=tmp_path)
    assert done.returncode == 0 and "mean of 7 frames" in done.stderr, done.stderr
    made = {path.name for path in tmp_path.iterdir()} - {"drive.mp4"}
    if format_ == "side_by_side":
        assert made == {"drive_side_by_side.mp4"}
        capture = cv2.VideoCapture(str(tmp_path / "drive_side_by_side.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 128 and capture.get(cv2.CAP_PROP_FPS) == 10
        assert frames_in(tmp_path / "drive_side_by_side.mp4") == 7
    else:
        assert made == {"drive_masks", "drive_overlay.mp4", "drive_color.mp4"}
        masks = sorted((tmp_path / "drive_masks").iterdir())
        assert [mask.name for mask in masks] == [f"{i:06}.png" for i in range(7)]
        assert Image.open(masks[3]).size == (64, 48)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_a_video_that_is_stopped_does_not_look_finished(
    tmp_path: Path, finished_run: Path, number: signal.Signals
) -> None:
    write_video(tmp_path / "drive.mp4", 3000)
    words = [f"checkpoint={finished_run}", "input=drive.mp4", "format=[mask,overlay]"]
    process = start_command("infer.py", *words, cwd=tmp_path)
    wait_for("drive_masks/000002.png", tmp_path, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert not (tmp_path / "drive_overlay.mp4").exists()
    if number == signal.SIGKILL:
        return
    assert process.returncode == 128 + number, err
    (line,) = [line for line in err.splitlines() if "stopped at frame" in line]
    done = int(line.split("stopped at frame ")[1].split()[0])
    assert 3 <= done < 3000 and f"stopped at frame {done} of 3000" in line
    assert "wrote" not in err and "everything saved" not in err and "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"drive.mp4", "drive_masks"}


def test_an_earlier_video_outlives_one_that_is_stopped(tmp_path: Path, finished_run: Path) -> None:
    write_video(tmp_path / "drive.mp4", 7)
    output = tmp_path / "overlay.mp4"
    output.write_text("the one before")
    predictor = Predictor.from_checkpoint(finished_run)
    with Frames(str(tmp_path / "drive.mp4")) as frames, pytest.raises(Interrupted) as stop:
        segment(frames, predictor, {"overlay": output}, after_frame=lambda mask: signal.raise_signal(signal.SIGTERM))
    assert stop.value.signal == signal.SIGTERM
    assert output.read_text() == "the one before"
    assert {path.name for path in tmp_path.iterdir()} == {"drive.mp4", "overlay.mp4"}


def test_what_a_camera_saw_is_kept_when_it_is_stopped(tmp_path: Path, finished_run: Path) -> None:
    write_video(tmp_path / "drive.mp4", 7)
    seen = []

    def after_frame(mask: np.ndarray) -> None:
        seen.append(mask)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    with Frames(str(tmp_path / "drive.mp4")) as frames:
        frames.is_camera = True
        outputs = {"overlay": tmp_path / "overlay.mp4"}
        count = segment(frames, Predictor.from_checkpoint(finished_run), outputs, after_frame=after_frame)
    assert count == 4 and frames_in(tmp_path / "overlay.mp4") == 4


def test_a_truncated_video_is_told(tmp_path: Path, finished_run: Path) -> None:
    write_video(tmp_path / "drive.avi", 40)
    content = (tmp_path / "drive.avi").read_bytes()
    (tmp_path / "drive.avi").write_bytes(content[: len(content) // 2])
    readable = frames_in(tmp_path / "drive.avi")
    assert 0 < readable < 30
    done = run(f"checkpoint={finished_run}", "input=drive.avi", "format=[mask,overlay]", cwd=tmp_path)
    assert done.returncode == 1 and f"{readable} of 40 frames could be read" in done.stderr, done.stderr
    assert len(list((tmp_path / "drive_masks").iterdir())) == readable
    assert frames_in(tmp_path / "drive_overlay.mp4") == readable


def test_a_shorter_video_leaves_none_of_the_longer_ones_masks(tmp_path: Path, finished_run: Path) -> None:
    words = [f"checkpoint={finished_run}", "input=drive.mp4", "format=mask"]
    write_video(tmp_path / "drive.mp4", 7)
    assert run(*words, cwd=tmp_path).returncode == 0
    masks = tmp_path / "drive_masks"
    others = ["notes.txt", "5.png", "0000005.png", "000005.jpg", "a000005.png"]
    for name in others:
        (masks / name).write_text("somebody's")
    write_video(tmp_path / "drive.mp4", 4)
    assert run(*words, "overwrite=true", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in masks.iterdir()) == sorted([*others, *(f"{i:06}.png" for i in range(4))])


def test_the_next_frame_is_read_while_the_network_works(
    tmp_path: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "drive.mp4", 5)
    predictor = Predictor.from_checkpoint(finished_run)
    resized, readers = predictor.resized, []

    def noted(image: np.ndarray) -> torch.Tensor | None:
        readers.append(threading.current_thread())
        return resized(image)

    monkeypatch.setattr(predictor, "resized", noted)
    with Frames(str(tmp_path / "drive.mp4")) as frames:
        segment(frames, predictor, {"mask": tmp_path / "masks"}, after_frame=lambda mask: None)
    assert len(readers) == 5 and threading.main_thread() not in readers
