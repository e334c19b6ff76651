"""What a resumed run takes from its folder."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from cli.resuming import OpenRun, threads_of
from utils.run_folder import RunFolder


@pytest.mark.parametrize(
    ("typed", "processes", "expected"), [("auto", 1, 1), (3, 1, 3), ("auto", 2, "auto"), ("auto", None, "auto")]
)
def test_threads(tmp_path: Path, typed: Any, processes: int | None, expected: Any) -> None:
    """A run that has used one thread in each of its processes, resumed with one process; or a new run."""
    folder = RunFolder(tmp_path)
    folder.update_summary(environment={"threads": 1})
    ended: dict[str, Any] | None = None if processes is None else {"training": {"processes": [{}] * processes}}
    cfg = OmegaConf.create({"trainer": {"threads": typed}})
    assert threads_of(cfg, OpenRun(folder, ended)) == expected
