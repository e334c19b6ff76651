"""Masks for videos, as a user asks for them."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from infer import infer
from tests.in_process import run_here


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(infer, "infer", *words, cwd=cwd)


@pytest.mark.parametrize("format_", ["[mask,overlay,color]", "side_by_side"])
def test_a_video(tmp_path: Path, finished_run: Path, format_: str) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for i in range(7):
        writer.write(np.full((48, 64, 3), 30 * i, np.uint8))
    writer.release()
    done = run(f"checkpoint={finished_run}", "input=drive.mp4", f"format={format_}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.iterdir()} - {"drive.mp4"}
    if format_ == "side_by_side":
        assert made == {"drive_side_by_side.mp4"}
        capture = cv2.VideoCapture(str(tmp_path / "drive_side_by_side.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 128 and capture.get(cv2.CAP_PROP_FPS) == 10
        assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == 7
    else:
        assert made == {"drive_masks", "drive_overlay.mp4", "drive_color.mp4"}
        masks = sorted((tmp_path / "drive_masks").iterdir())
        assert [mask.name for mask in masks] == [f"{i:06}.png" for i in range(7)]
        assert Image.open(masks[3]).size == (64, 48)
