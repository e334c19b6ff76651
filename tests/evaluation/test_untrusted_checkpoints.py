"""A checkpoint from anywhere, of which no code may run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.images import read_image
from tests.evaluation.networks import evaluate_here
from tests.in_process import assert_refused, succeeded


def spoil(checkpoint: Path, keys: dict[str, Any]) -> None:
    """Sets keys of the node `data` in a checkpoint's config."""
    content = torch.load(checkpoint, weights_only=True)
    content["config"]["data"] |= keys
    torch.save(content, checkpoint)


class Pickled:
    """Makes a folder when it is read, as what is malicious may do anything."""

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the code left behind that a checkpoint must not start."""
    torch.save(Pickled(), tmp_path / "evil.pt")
    calls: list[str] = []

    def download_voc(root: Path) -> None:
        calls.append("download_voc")

    def spied_read_image(path: str) -> np.ndarray:
        calls.append("read_image")
        return read_image(path)

    monkeypatch.setattr("data.voc_download.download_voc", download_voc)
    monkeypatch.setattr("data.images.read_image", spied_read_image)
    return lambda: [*calls, *(path.name for path in tmp_path.glob("ran*"))]


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("os.system", {"command": "touch ran"}),
        ("torch.load", {"f": "evil.pt", "weights_only": False}),
        ("torch.nn.Linear", {"in_features": 1, "out_features": 1}),
        ("data.images.read_image", {"path": "evil.pt"}),
        ("data.voc_download.download_voc", {"root": "voc"}),
        ("data.voc_download.SBDataset", {"root": "ran"}),  # of torchvision, only imported there
        ("data.camvid.PairedFiles", {}),
        ("data.download.os.mkdir", {"path": "ran"}),
        ("tests.data.layouts.make_voc", {"root": "ran"}),
        ("data", {}),
        (["data.camvid.CamVid"], {}),
        (None, {}),
    ],
)
def test_a_checkpoint_does_not_say_what_is_run(
    tmp_path: Path, street: Path, traces: Callable[[], list[str]], target: Any, arguments: dict[str, Any]
) -> None:
    spoil(street, {"_target_": target, **arguments})
    done = evaluate_here("checkpoint=street.pt", cwd=tmp_path)
    assert_refused(done, f"trained on '{target}', which is not a data set of this project", "pass data=")
    assert traces() == []


def test_data_that_the_user_names_need_nothing_of_the_checkpoint(
    tmp_path: Path, street: Path, traces: Callable[[], list[str]]
) -> None:
    spoil(street, {"_target_": "os.system", "command": "touch ran"})
    words = ["checkpoint=street.pt", "data=camvid", "data.root=camvid", "data.image_size=[32,48]", "data.num_workers=0"]
    succeeded(evaluate_here(*words, cwd=tmp_path))
    assert traces() == []


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "shutil.copytree", "src": "camvid", "dst": "ran"},
        {"x": {"_target_": "os.mkdir", "path": "ran"}},
        {"x": [{"_target_": "torch.load", "f": "evil.pt", "weights_only": False}]},
        {"x": {"_target_": "data.voc_download.download_voc", "root": "voc"}},
        {"x": {"_target_": "os.system", "_args_": ["touch ran"]}},
        "${oc.create:${oc.decode:'{_tar${.split}_: os.mkdir, path: ran}'}}",
    ],
)
def test_nor_inside_its_data(tmp_path: Path, run: Path, traces: Callable[[], list[str]], node: dict[str, Any]) -> None:
    (tmp_path / "camvid").mkdir()
    spoil(run / "checkpoints" / "best.pt", {"train_length": node})
    done = evaluate_here("checkpoint=run", cwd=tmp_path)
    assert traces() == []
    assert_refused(done)
