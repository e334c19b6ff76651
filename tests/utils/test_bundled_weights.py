"""Networks of `weights/`, by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils import bundled_weights
from utils.bundled_weights import bundled_names, checkpoint_path


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("b_net.pt", "a_net.pt", "a_net.md"):
        (folder / name).touch()
    monkeypatch.setattr(bundled_weights, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_names_lead_to_the_files(box: Path) -> None:
    assert bundled_names() == ["a_net", "b_net"]
    assert checkpoint_path("a_net", "checkpoint") == box / "a_net.pt"


def test_only_a_run_folder_of_that_name_comes_first(box: Path) -> None:
    Path("b_net").touch()
    assert checkpoint_path("b_net", "checkpoint") == box / "b_net.pt"
    Path("a_net").mkdir()
    assert checkpoint_path("a_net", "checkpoint") == box / "a_net.pt"
    Path("a_net", "checkpoints").mkdir()
    assert checkpoint_path("a_net", "checkpoint") == Path("a_net")
    assert checkpoint_path(Path("b_net").absolute(), "checkpoint") == Path("b_net").absolute()


@pytest.mark.parametrize("given", ["c_net", "a_net.pt", "weights/a_net.pt", "../weights/a_net"])
def test_other_words_are_paths(box: Path, given: str) -> None:
    assert checkpoint_path(given, "checkpoint") == Path(given)
