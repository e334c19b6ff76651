"""The link to the latest run is not another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comparison.runs import found_runs
from utils.find_run import mark_latest


@pytest.mark.parametrize("runs", ["experiments", "experiments/*"])
def test_a_run_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        folder = tmp_path / "experiments" / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"status": "finished"}))
        mark_latest(Path("experiments", name))
    found, skipped = found_runs(runs)
    assert [str(run.path) for run in found] == ["experiments/a", "experiments/b"] and skipped == []
    found, _ = found_runs("experiments/latest")
    assert [str(run.path) for run in found] == ["experiments/b"]
