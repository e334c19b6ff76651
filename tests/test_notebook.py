"""The notebook runs from top to bottom."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT

nbclient = pytest.importorskip("nbclient", reason="requirements-dev.txt is not installed")
nbformat = pytest.importorskip("nbformat")


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
    assert "(180, 240) (9, 180, 240)" in said and "| ce_dice |" in said and len(pictures) == 3
    runs = list((tmp_path / "experiments").iterdir())
    assert sorted(run.name.rpartition("_")[2] for run in runs) == ["dice", "iou"]
    assert (tmp_path / "report.html").stat().st_size > 1e6
