"""compare.py, as a user types it."""

import csv
import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from compare import compare
from tests.comparison.folders import add_metrics, make_run
from tests.conftest import ROOT, run_command
from tests.in_process import assert_refused, run_here, succeeded
from tests.printed import rows_of_table
from tests.terminal import shown_in


def test_a_run_and_its_copy(tmp_path: Path, finished_run: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(finished_run, tmp_path / "experiments" / name)
    (tmp_path / "experiments" / "broken").mkdir()
    (tmp_path / "experiments" / "broken" / "summary.json").write_text("{")
    done = succeeded(run_command("compare.py", "format=json", "sort=val/miou", cwd=tmp_path))
    assert "warning: skipped experiments/broken: its summary.json is damaged" in done.stderr
    summary = json.loads((finished_run / "summary.json").read_text())
    for row, name in zip(json.loads(done.stdout), ("one", "two"), strict=True):
        assert (row["name"], row["model"], row["data"]) == (name, "enet", "synthetic")
        assert row["mIoU"] == summary["best"]["val/miou"] and row["parameters"] == 359_984
        assert row["MACs"] > 1e6
    table = succeeded(run_command("compare.py", "runs=experiments/[ot]*", "baseline=experiments/two", cwd=tmp_path))
    assert "| one  |" in table.stdout and "+0.0000" in table.stdout and "| sky " in table.stdout


def test_damaged_files_of_runs_are_reported(tmp_path: Path) -> None:
    """A comparison goes on without them."""
    for name, content in {
        "good": None,
        "note": "epoch,val/miou\n1,0.5\na note\n",
        "semicolons": "epoch;lr\n1;2\n",
    }.items():
        run = make_run(tmp_path / "experiments" / name)
        add_metrics(run, {"epoch": [1, 2]})
        if content is not None:
            (run / "metrics.csv").write_text(content)
    (tmp_path / "experiments" / "good" / "config.yaml").write_text("[")
    done = run_here(compare, "compare", cwd=tmp_path)
    assert done.returncode == 0 and "experiments/good: its config.yaml is damaged: compared without" in done.stderr
    assert "metrics.csv" not in done.stderr
    done = succeeded(run_here(compare, "compare", "report=report.html", cwd=tmp_path))
    for name in ("note", "semicolons"):
        assert f"experiments/{name}: its metrics.csv is damaged: compared without its curves" in done.stderr
        assert f"experiments/{name}: its metrics.csv is damaged" in (tmp_path / "report.html").read_text()
    assert "good: its metrics.csv" not in done.stderr


def test_groups_have_the_column_n_anyway(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / "experiments" / str(seed), 0.5, seed=seed)
    words = ("columns=[model,val/miou,n]", "format=csv")
    done = run_here(compare, "compare", *words, "group_by=seed", cwd=tmp_path)
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert (row["n"], row["mIoU"]) == ("2", "0.5")
    assert_refused(run_here(compare, "compare", *words, cwd=tmp_path), "columns=n: no run has this metric or key")


def test_a_report_is_written_beside_the_table(tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "experiments" / "one")
    (tmp_path / "it's (1), mine.html").write_text("an older one")
    done = succeeded(run_here(compare, "compare", "report=it's (1), mine.html", cwd=tmp_path))
    assert "| one  |" in done.stdout
    path = tmp_path / "it's (1), mine.html"
    assert f"wrote {path.name} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser" in done.stderr
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "experiments"}


def test_without_a_terminal_a_table_has_lines_of_usual_length(tmp_path: Path) -> None:
    for run in (1, 2):
        options: dict[str, Any] = {f"model__option_{place}": run for place in range(12)}
        make_run(tmp_path / "experiments" / f"run_{run}", run / 10, **options)
    done = run_here(compare, "compare", cwd=tmp_path)
    *lines, note = done.stdout.splitlines()
    assert len({len(line) for line in lines}) == 1 and 140 < len(lines[0]) <= 160
    assert [line.split()[1] for line in lines if "finished" in line] == ["run_1", "run_2"]
    left_out = note.removeprefix("columns that do not fit: ").partition(";")[0].split(", ")
    head = rows_of_table(lines[1])[0]
    assert "model.option_11" in left_out and not set(head) & set(left_out)
    assert {"name", "mIoU", "status", "model.option_0"} <= set(head)
    done = run_here(compare, "compare", "format=csv", cwd=tmp_path)
    assert set(next(csv.reader(done.stdout.splitlines()))) == {*head, *left_out}
    done = run_here(
        compare, "compare", f"columns=[{','.join(key.replace('__', '.') for key in options)}]", cwd=tmp_path
    )
    assert "| model.option_11 |" in done.stdout and "do not fit" not in done.stdout


def test_in_a_terminal_a_table_is_as_wide_as_that(tmp_path: Path) -> None:
    for name, rate in (("one", 0.1), ("two", 0.2)):
        make_run(tmp_path / "experiments" / name, optimizer__lr=rate)
    whole = run_command("compare.py", cwd=tmp_path)
    assert "| optimizer.lr |" in whole.stdout and "do not fit" not in whole.stdout
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [sys.executable, str(ROOT / "compare.py")]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, stdout=other_end, stderr=subprocess.PIPE)
    os.close(other_end)
    shown = shown_in(terminal).splitlines()
    assert max(len(line) for line in shown if line.startswith(("+", "|"))) <= 100
    assert any("| optimizer.lr |" in line for line in shown)  # in which they differ; what is the same goes first
    assert shown[-1].startswith("columns that do not fit: ") and "optimizer.lr" not in shown[-1]


def test_a_sweep_by_its_name_stands_for_its_runs_and_as_baseline_for_the_best(tmp_path: Path) -> None:
    sweep = tmp_path / "experiments" / "2026-11-03_10-00-00-000001_rates_sweep"
    for job, miou in enumerate((0.5, 0.7, 0.6)):
        (make_run(sweep / str(job), miou, optimizer__lr=(job + 1) / 10) / "checkpoints").mkdir()
        (sweep / str(job) / "checkpoints" / "best.pt").touch()
    make_run(tmp_path / "experiments" / "2026-11-04_10-00-00-000001_other", 0.9)
    done = succeeded(run_here(compare, "compare", "runs=rates", "baseline=rates", "format=csv", cwd=tmp_path))
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["name"] for row in rows] == [
        f"{sweep.name}/{job}" for job in range(3)
    ]  # one table, which readers expect
    assert [float(row["difference in mIoU"]) for row in rows] == pytest.approx([-0.2, 0, -0.1])
    assert "baseline=experiments/" in done.stderr and "_sweep/1 is the best of its 3 runs" in done.stderr


def test_a_run_killed_before_it_started(tmp_path: Path) -> None:
    (tmp_path / "experiments" / "2026-11-03_10-00-00-000001_killed" / ".hydra").mkdir(parents=True)
    done = run_here(compare, "compare", "runs=killed", cwd=tmp_path)
    assert_refused(done, "runs=experiments/2026-11-03_10-00-00-000001_killed: it was ended before it started")
    assert "skipped" not in done.stderr


def test_mistakes(tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "experiments" / "one")
    for words, fragment in (
        (["runs=nowhere/*"], "runs=nowhere/*: there is no run"),
        (["sort=val/mio"], "did you mean 'val/miou'"),
        (["baseline=experiments/two"], "baseline=experiments/two: there is no such run\nthe newest runs are one"),
        (["baseline=experiments"], "baseline=experiments: not among the 1 run compared; pass one"),
        (["watch=true", "runs=nowhere"], "runs=nowhere: there is no such run"),
        (["group_by=optimizer.l"], "did you mean 'optimizer.lr'"),
        (["format=html"], "format=html"),
        (["report=x.pdf"], "report=x.pdf: must end in .html"),
        (["report=nowhere/x.html"], "report=nowhere/x.html: there is no folder nowhere"),
        (["watch=true", "format=csv"], "leave out format"),
        (["watch=maybe"], "watch=maybe"),
    ):
        assert_refused(run_here(compare, "compare", *words, cwd=tmp_path), fragment)
