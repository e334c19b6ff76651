"""The notebook runs from top to bottom."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, runs_in

nbclient = pytest.importorskip("nbclient", reason="requirements-dev.txt is not installed")
nbformat = pytest.importorskip("nbformat")


@pytest.mark.slow
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a copy, so that its runs do not end up in the repository's experiments/.
    for path in ROOT.iterdir():
        if path.name not in ("experiments", ".git", ".venv", "report.html"):
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert "(180, 240) (9, 180, 240)" in said and "| ce_dice |" in said and len(pictures) == 4
    runs = runs_in(tmp_path)
    assert sorted(run.name.rpartition("_")[2] for run in runs) == ["dice", "iou"]
    assert (tmp_path / "report.html").stat().st_size > 1e6


def test_it_fetches_the_repository_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Colab; pip is left out."""
    pip = []
    run = subprocess.run

    def without_pip(command: list[str], **options: Any) -> None:
        if "pip" in command:
            pip.append(command)
        else:
            run(command, **options)

    origin, here = tmp_path / "origin", tmp_path / "here"
    here.mkdir()
    origin.mkdir()
    (origin / "train_segmentation.py").touch()
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b.c commit -q -m first"):
        run(["git", *words.split()], cwd=origin, check=True)
    monkeypatch.setattr(subprocess, "run", without_pip)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(here)
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    with pytest.raises(SystemExit, match="set REPOSITORY"):
        exec(first, {})
    found: dict[str, Any] = {}
    exec(first.replace('REPOSITORY = ""', f'REPOSITORY = "{origin.as_uri()}"'), found)
    assert (found["root"] / "train_segmentation.py").is_file() and found["root"].parent == here
    assert pip == [[sys.executable, "-m", "pip", "install", "-q", "-r", str(found["root"] / "requirements.txt")]]
