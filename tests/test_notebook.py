"""The notebook runs from top to bottom, and holds the outputs of its code."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.result_pictures import HEADER
from tests.conftest import ROOT, runs_in

pytest.importorskip("nbclient", reason="requirements-dev.txt is not installed")
nbformat = pytest.importorskip("nbformat")


def outputs_of(notebook: Any) -> tuple[str, list[str]]:
    """Return the texts that a notebook's cells printed, and their pictures."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/jpeg"] for output in outputs if "image/jpeg" in output.get("data", {})]
    return "".join(output.get("text", "") for output in outputs), pictures


def test_the_stored_outputs_are_those_of_the_code() -> None:
    """After a change of the code, run notebooks/execute.py."""
    path = ROOT / "notebooks" / "quickstart.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    source = "\n\n".join(cell.source for cell in code)
    assert notebook.metadata.executed == hashlib.sha256(source.encode()).hexdigest()
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    said, pictures = outputs_of(notebook)
    assert "best val/miou" in said and len(pictures) == 4
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture)))
        image.load()
        assert image.format == "JPEG" and image.width <= 720
    assert path.stat().st_size < 500_000
    for word in ("Error", "Traceback", "arning"):
        assert word not in said
    assert not re.search(r"(?<![\w.>])/\w+/", said)  # an absolute path


def test_the_photo_of_the_last_cell_is_one_of_the_readme() -> None:
    """Not a part of two photos, or of the header above them."""
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    *_, source = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    found: dict[str, Any] = {"root": ROOT}
    exec(source.partition("trained =")[0], found)
    rows = np.asarray(Image.open(ROOT / "docs" / "street.jpg"))[HEADER:, :240]
    photos = [np.asarray(Image.fromarray(rows[top : top + 180]).resize((480, 360))) for top in (0, 180)]
    assert any(np.array_equal(found["street"], photo) for photo in photos)


@pytest.mark.slow
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from notebooks.execute import executed

    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    said, pictures = outputs_of(executed(tmp_path))
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
