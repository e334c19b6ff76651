from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.camvid import LABELS as CAMVID_LABELS
from tests.data.layouts import blocks, photo, write
from tests.evaluation.networks import write_network


@pytest.fixture
def run(tmp_path: Path, finished_run: Path) -> Path:
    """A copy of the finished run, in the folder of the test."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="module")
def original_street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    root = folder / "camvid"
    for split in ("train", "val"):
        for i in range(3):
            write(root / split / f"{i}.png", photo(i))
            write(root / f"{split}annot" / f"{i}.png", blocks(i, [*range(9), 11]))
    data = {"_target_": "data.camvid.CamVid", "root": "camvid"}
    write_network(folder / "street.pt", CAMVID_LABELS, data, [photo(i) for i in range(3)])
    return folder


@pytest.fixture
def street(tmp_path: Path, original_street: Path) -> Path:
    """A network and, beside it, a CamVid whose masks lack two classes and have void pixels."""
    shutil.copytree(original_street, tmp_path, dirs_exist_ok=True)
    return tmp_path / "street.pt"
