"""An epoch of training against that of a peer, without its clone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import epoch
from tests.printed import rows_of_table


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three photos, of which the left half is white, and their masks of classes 3 and 7."""
    for folder in ("train", "trainannot", "val", "valannot"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            if folder.endswith("annot"):
                array = np.repeat([[3, 7]], 4, 1).repeat(6, 0).astype(np.uint8)
                Image.fromarray(array).save(tmp_path / folder / f"{i}.png")
            else:
                halves = np.repeat([[255, 0]], 4, 1).repeat(6, 0).astype(np.uint8)
                Image.fromarray(np.stack([halves] * 3, -1)).save(tmp_path / folder / f"{i}.jpg")
    return tmp_path


def test_copies_have_the_size_and_the_layout_of_camvid(camvid: Path, tmp_path: Path) -> None:
    epoch.write_resized(camvid, tmp_path / "small", (3, 4), images=2)
    for folder in ("train", "trainannot", "val", "valannot"):
        assert sorted(path.name for path in (tmp_path / "small" / folder).iterdir()) == ["0.png", "1.png"]
    mask = np.asarray(Image.open(tmp_path / "small" / "valannot" / "1.png"))
    assert mask.tolist() == [[3, 3, 7, 7]] * 3
    assert Image.open(tmp_path / "small" / "train" / "0.png").size == (4, 3)


def test_start_and_end_are_left_out(
    camvid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Theirs take 7 s and 4 s per epoch, ours 9 s and 3 s."""

    def cpu_seconds(command: Sequence[str], folder: str) -> float:
        if command[0].endswith("peer_training.py"):
            assert command[1] == str(camvid) and len(list(Path(command[2], "train").iterdir())) == 2
            return 7 + 4 * int(command[3])
        (epochs,) = (word for word in command if word.startswith("trainer.epochs="))
        return 9 + 3 * int(epochs.partition("=")[2])

    monkeypatch.setattr(epoch, "cpu_seconds", cpu_seconds)
    epoch.main(["--enet", str(camvid), "--data", str(camvid), "--images", "2", "--size", "3", "4", "--epochs", "5"])
    _, row = rows_of_table(capsys.readouterr().out)
    assert row == ["2 images of 3x4", "4.0 s", "3.0 s", "0.75"]


def test_a_failing_training_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="broken"):
        epoch.cpu_seconds(["-c", "raise ValueError('broken')"], str(tmp_path))
