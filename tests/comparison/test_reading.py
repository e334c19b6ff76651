"""Which folders are taken for runs, and files in them that would stop a reader."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from comparison import report_data
from comparison.curves import curves
from comparison.rendering import rendered
from comparison.rows import differing_keys, rows_of
from comparison.runs import Run, read_runs
from comparison.watch import drawn
from tests.comparison.folders import add_figures, add_metrics, change_summary, make_run, scene
from utils.text import cleaned


def names_in(folder: Path) -> list[str]:
    """The names of the runs; nothing may be left out."""
    runs, skipped = read_runs([folder])
    assert skipped == []
    return [run.name for run in runs]


def left_out(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the runs, and why folders were left out, by their names."""
    runs, skipped = read_runs([folder])
    return [run.name for run in runs], {Path(r.partition(":")[0]).name: r.partition(": ")[2] for r in skipped}


def test_a_folder_with_a_number_hides_no_other(tmp_path: Path) -> None:
    make_run(tmp_path / "2026-01-01_a_enet")
    for name in ("5", "\u00b2", "\u0663"):  # the last two are digits, too, one of them no decimal
        (tmp_path / name).mkdir()
    assert names_in(tmp_path) == ["2026-01-01_a_enet"]


def test_hidden_folders_hold_no_runs(tmp_path: Path) -> None:
    for name in ("a", ".trash_a", "@eaDir", ".trash/b", "sweep/0", "sweep/.0"):
        make_run(tmp_path / name)
    assert names_in(tmp_path) == ["a", "sweep/0"] and names_in(tmp_path / ".trash") == ["b"]


def test_a_sweep_without_its_first_job(tmp_path: Path) -> None:
    for job in (10, 2):
        make_run(tmp_path / "with_record" / str(job))
        make_run(tmp_path / "without" / str(job))
    (tmp_path / "with_record" / "multirun.yaml").write_text("{}")
    expected = ["with_record/2", "with_record/10", "without/2", "without/10"]
    assert names_in(tmp_path) == expected
    assert names_in(tmp_path / "with_record") == expected[:2]


def test_jobs_may_have_names(tmp_path: Path) -> None:
    """As with hydra.sweep.subdir=..."""
    for job in ("lr=0.1", "lr=0.2"):
        make_run(tmp_path / "x" / job)
    (tmp_path / "x" / "multirun.yaml").write_text("{}")
    (tmp_path / "x" / "plots").mkdir()
    assert names_in(tmp_path) == names_in(tmp_path / "x") == ["x/lr=0.1", "x/lr=0.2"]
    assert names_in(tmp_path / "x" / "lr=0.2") == ["x/lr=0.2"]


def test_what_was_to_be_a_run_is_told(tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    (make_run(tmp_path / "config") / "summary.json").unlink()
    (tmp_path / "hydra" / ".hydra").mkdir(parents=True)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "train.log").write_text("")
    make_run(tmp_path / "sweep" / "0")
    (tmp_path / "sweep" / "multirun.yaml").write_text("{}")
    (tmp_path / "sweep" / "1").mkdir()
    (tmp_path / "of something else" / "inside").mkdir(parents=True)
    names, reasons = left_out(tmp_path)
    assert names == ["good", "sweep/0"]
    assert set(reasons) == {"config", "hydra", "log", "1"}
    assert reasons["hydra"] == "it was ended before it started, or is still starting"
    assert reasons["log"] == "not a run, or one that failed before it started (there is no summary.json)"


@pytest.fixture
def without_rights() -> Iterator[Path]:
    """A folder of a user who is not root, whom the tests become, since nothing is forbidden to root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    if os.geteuid() != os.getuid():
        os.seteuid(os.getuid())
    for path in folder.iterdir():
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_folders_that_cannot_be_read_are_left_out_alone(without_rights: Path) -> None:
    make_run(without_rights / "good")
    for name in ("locked", "listed", "sealed"):
        make_run(without_rights / name)
    (without_rights / "locked").chmod(0)
    (without_rights / "listed").chmod(0o444)
    (without_rights / "sealed" / "summary.json").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    names, reasons = left_out(without_rights)
    assert names == ["good"]
    assert reasons == {
        "locked": "cannot be read (Permission denied)",
        "listed": "cannot be read (Permission denied)",
        "sealed": "its summary.json cannot be read (Permission denied)",
    }
    assert read_runs([without_rights / "locked"])[1] == [
        f"{without_rights / 'locked'}: cannot be read (Permission denied)"
    ]


@pytest.mark.parametrize("file", ["summary.json", "config.yaml", "metrics.csv"])
def test_nothing_waits_for_a_pipe(tmp_path: Path, file: str) -> None:
    make_run(tmp_path / "good")
    pipe = make_run(tmp_path / "pipe") / file
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    runs, skipped = read_runs([tmp_path])
    if file == "summary.json":
        assert skipped == [f"{tmp_path / 'pipe'}: its summary.json cannot be read (it is a named pipe, not a file)"]
        assert [run.name for run in runs] == ["good"]
    else:
        assert (runs[1].config == {}) == (file == "config.yaml") and runs[1].rows == []


def test_pictures_are_not_waited_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    add_figures(run, [scene(1, 1), scene(2, 1)])
    samples = run / "figures" / "samples"
    (truth,) = samples.glob("1_*_truth.png")
    for pipe in (truth, run / "figures" / "confusion_matrix.csv"):
        pipe.unlink()
        os.mkfifo(pipe)
    data, ordered = report_data.gathered(*read_runs([tmp_path]), "x")
    report_data.add_pictures(data, ordered, 10**6)
    assert len(data["samples"]) == 1 and data["runs"][0]["confusion"] is None
    (samples / "index.json").unlink()
    os.mkfifo(samples / "index.json")
    report_data.add_pictures(data, ordered, 10**6)
    assert data["samples"] == []


BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(BOMB, id="aliases"),
        pytest.param(BOMB.replace("[", "!!omap [").replace("*", "x: *"), id="omap"),
        pytest.param(MERGED, id="merged"),
        pytest.param("a: " + "[" * 200_000, id="flow"),
        pytest.param("- " * 100_000, id="block"),
        pytest.param("a: &a [*a]", id="loop"),
        pytest.param("a: 0x" + "f" * 10_000, id="number"),
        pytest.param("a: " + "x" * 5_000_000, id="size"),
    ],
)
def test_a_config_that_is_made_to_hurt_is_none(tmp_path: Path, config: str) -> None:
    (make_run(tmp_path / "a") / "config.yaml").write_text(config)
    make_run(tmp_path / "b")
    runs, _ = read_runs([tmp_path])
    assert runs[0].config == {} and differing_keys(runs) == []


def test_a_long_config_is_read(tmp_path: Path) -> None:
    make_run(tmp_path / "a", data__image_size=list(range(10_000)))
    (run,) = read_runs([tmp_path])[0]
    assert run.config["data.image_size"] == list(range(10_000))


def test_texts_can_be_printed_and_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    odd = "\x1b]0;title\x07\ud800\u202e\x9b2J\u00e4 \u20ac"
    spelled = r"\x1b]0;title\x07\ud800\u202e\x9b2J" + "\u00e4 \u20ac"
    assert cleaned(odd) == spelled and cleaned("two\nlines") == "two\nlines"
    run = make_run(tmp_path / "\x1b[2J", options={"model": odd}, **{odd: 1})
    change_summary(run, status=odd, name=odd, notes=odd, error=odd)
    make_run(tmp_path / os.fsdecode(b"\xff"))
    (make_run(tmp_path / "broken \x1b[2J") / "summary.json").write_text("{")
    runs, skipped = read_runs([tmp_path])
    assert [run.name for run in runs] == [r"\x1b[2J", r"\udcff"]
    for form in ("table", "csv", "json", "markdown", "latex"):
        text = rendered(rows_of(runs, differing_keys(runs)), form)
        assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text) and text.encode()
    assert spelled in rendered(rows_of(runs, differing_keys(runs)), "table")
    assert r"broken \x1b[2J: its summary.json is damaged" in skipped[0]
    assert spelled in drawn(runs, "x", 10)
    assert spelled in json.dumps(report_data.gathered(runs, skipped, "x")[0], ensure_ascii=False).replace("\\\\", "\\")


@pytest.mark.parametrize("seconds", ["inf", "-inf", "nan", "1e308"])
@pytest.mark.parametrize("epochs", [10, 10**400, True, 1e300])
def test_no_time_stops_the_watch(tmp_path: Path, seconds: str, epochs: float) -> None:
    run = make_run(tmp_path / "a", trainer__epochs=epochs)
    change_summary(run, status="running", name="mine")
    add_metrics(run, {"epoch": [1, 2]})
    (run / "metrics.csv").write_text(f"epoch,seconds\n1,{seconds}\n2,{seconds}\n")
    assert "mine" in drawn(read_runs([tmp_path])[0], "x", 10)
    assert curves(Run(run, {}), 10)["curves"]["epoch"] == [1, 2]
