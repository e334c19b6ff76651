import json
import shutil
from pathlib import Path

import pytest
import yaml

from cli.command_line import hydra_words, with_plugin_defaults
from sweeps.resuming import merged_words, recorded_words
from sweeps.sweep import check_same_config, is_finished, note_refused, summary
from tests.conftest import CAN_SEARCH
from tests.in_process import run_here
from tests.printed import rows_of_table
from train_segmentation import train
from utils.errors import Occupied, UserError
from utils.run_folder import RunFolder

SAID = ["seed=0,1", "++model.width=2", "data.root='a,b'", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def a_sweep(folder: Path, *said: str) -> Path:
    """The record that Hydra's sweeper leaves."""
    task = [word for word in said if not word.startswith("hydra")]
    settings = [word for word in said if word.startswith("hydra")]
    record = {"hydra": {"overrides": {"task": task, "hydra": ["hydra.mode=MULTIRUN", *settings]}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(record))
    return folder


def test_a_sweep_goes_on_with_the_words_it_was_started_with(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, *SAID, "sweep='before'", "hydra.sweep.dir='before'")
    assert recorded_words(sweep) == SAID
    where = [f"sweep='{sweep}'", f"hydra.sweep.dir='{sweep}'"]
    assert hydra_words([f"sweep={sweep}"], "train") == ["--multirun", *SAID, *where]
    # The same command again, and another launcher, whose options are not the first one's.
    assert hydra_words(["-m", "seed=0,1", "model.width=2", "data.root=a,b", f"sweep={sweep}"], "train")[1:-2] == SAID
    assert hydra_words([f"sweep={sweep}", "hydra/launcher=basic"], "train")[1:-2] == [*SAID[:3], "hydra/launcher=basic"]
    assert "trainer.device=cpu" in hydra_words([f"sweep={sweep}", "trainer.device=cpu"], "train")


@pytest.mark.parametrize(
    ("typed", "fragment"),
    [
        ("seed=0,1,2", "with seed=0,1, not seed=0,1,2"),
        ("trainer.epochs=3", "without trainer.epochs=3"),
        ("trainer.early_stopping=3", "without trainer.early_stopping=3"),
        ("resume=.", "cannot be combined with"),
    ],
)
def test_what_is_swept_stays_as_it_was(tmp_path: Path, typed: str, fragment: str) -> None:
    with pytest.raises(UserError, match=fragment):
        hydra_words([f"sweep={a_sweep(tmp_path, *SAID)}", typed], "train")


@pytest.mark.parametrize(
    "word",
    [
        *("model._target_=os.system", "loss={_target_: torch.load}", "loss=../../../evil/l", "loss=ce_iou,/tmp/l"),
        *("hydra.searchpath=[file:///x]", "hydra.launcher.setup=[rm]", "hydra.job=x", "hydra/launcher=../x"),
        *(
            "hydra.sweeper.params=x",
            "hydra.sweeper.custom_search_space=x",
            "hydra.callbacks.x=y",
            "model.x=${oc.env:A}",
        ),
        *("model.x=${oc.env:A}", "--experimental-rerun=/tmp/config.pickle", "--config-dir=/tmp", "-cd", "unknown=3"),
    ],
)
def test_the_record_of_a_sweep_from_elsewhere_runs_no_code(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match="if you trust it, pass it"):
        merged_words([word], [], tmp_path)
    assert merged_words([word], [word], tmp_path) == [word]


def test_a_storage_from_elsewhere_is_not_opened_unasked(tmp_path: Path) -> None:
    word = "hydra.sweeper.storage=sqlite:///study.db"
    with pytest.raises(UserError, match="if you trust it, pass it beside sweep="):
        merged_words([word], [], tmp_path)
    assert merged_words([word], [word], tmp_path) == [word]


@pytest.mark.parametrize("content", ["", "hydra: 3", "[", "hydra: {overrides: {task: null, hydra: []}}"])
def test_a_damaged_record_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "multirun.yaml").write_text(content)
    with pytest.raises(UserError, match="damaged"):
        recorded_words(tmp_path)


def test_what_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no multirun\.yaml"):
        recorded_words(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match=f"pass resume={tmp_path}"):
        recorded_words(tmp_path)


def test_a_job_goes_on_only_with_its_own_config(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config({"seed": 0, "sweep": None, "trainer": {"epochs": 3, "device": "cpu"}})
    other = {"seed": 1, "sweep": "x", "trainer": {"epochs": 4, "device": "cuda"}}
    check_same_config(folder, other)  # nothing of it has been trained
    folder.update_summary(status="finished")
    with pytest.raises(Occupied) as caught:
        check_same_config(folder, other)
    assert "seed was 0 and is now 1; trainer.epochs was 3 and is now 4\n" in str(caught.value)
    assert "device" not in str(caught.value)
    check_same_config(folder, {"seed": 0, "sweep": "x", "trainer": {"epochs": 3, "device": "cuda"}})
    folder.update_summary(resumed=[["trainer.epochs=3"]])  # by itself, for more epochs than the sweep has
    shorter = {"epochs": 2, "early_stopping": 3, "device": "cpu"}
    check_same_config(folder, {"seed": 0, "sweep": "x", "trainer": shorter})


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_a_job_that_was_continued_by_itself_is_left_as_it_is(tmp_path: Path, finished_run: Path, status: str) -> None:
    said = [*json.loads((finished_run / "summary.json").read_text())["overrides"], "trainer.epochs=1"]
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    a_sweep(sweep, *[word for word in said if word != "trainer.epochs=2"])
    shutil.copytree(finished_run, sweep / "0")
    job = RunFolder(sweep / "0")
    job.update_summary(status=status, resumed=[["trainer.epochs=2"]])
    before = {
        path: path.read_bytes() for path in (sweep / "0").rglob("*") if path.name != "train.log" and path.is_file()
    }
    done = run_here(train, "train", "--multirun", "sweep=sweep", cwd=tmp_path)
    assert done.returncode == (0 if status == "finished" else 1), done.stderr
    assert "refused" not in done.stdout and "damaged" not in done.stdout
    assert {path: path.read_bytes() for path in before} == before


def test_the_ending_shows_what_failed_and_how_to_go_on(tmp_path: Path) -> None:
    for number, status in enumerate(["finished", "failed", "failed", "running"]):
        job = tmp_path / str(number)
        job.mkdir()
        best = {"val/miou": 0.5, "epoch": 2}
        error = "out of memory\nat great length" if status == "failed" else None
        RunFolder(job).update_summary(status=status, error=error, best=best if status == "finished" else None)
        RunFolder(job).write_config({"seed": number})
    (tmp_path / "10").mkdir()  # begun, and killed before it said anything
    note_refused(tmp_path / "7", "was trained\nwith another config")
    text = summary(tmp_path, complete=True)
    assert "job 7: was trained with another config" in text
    assert [row[0] for row in rows_of_table(text)] == ["job", "0", "1", "2", "3"]
    assert "0.5000" in text and "jobs 1, 2 failed: out of memory\n" in text and "great length" not in text
    assert text.splitlines()[-1].endswith(f"--multirun sweep={tmp_path}")
    assert not is_finished(tmp_path)


def test_the_ending_fits_into_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        RunFolder(tmp_path / str(number)).update_summary(status="finished")
        RunFolder(tmp_path / str(number)).write_config({"seed": number, "of_no_account": "x" * (95 + number)})
    assert "of_no_account" in summary(tmp_path, complete=True).splitlines()[2]
    monkeypatch.setattr("utils.tables.terminal_width", lambda: 100)
    lines = summary(tmp_path, complete=True).splitlines()
    assert "| seed |" in lines[2] and "of_no_account" not in lines[2]
    assert lines[-2].startswith("columns that do not fit: of_no_account")


def test_a_whole_sweep_ends_with_how_to_compare_it(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    RunFolder(tmp_path / "0").update_summary(status="finished")
    assert is_finished(tmp_path)
    assert summary(tmp_path, complete=True).splitlines()[-1].endswith(f"python compare.py runs={tmp_path}")

    assert "--multirun sweep=" in summary(tmp_path, complete=False)  # not all had their turn
    note_refused(tmp_path / "0", "another config")
    assert not is_finished(tmp_path) and "--multirun sweep=" in summary(tmp_path, complete=True)


def test_a_folder_with_only_a_config_is_no_job(tmp_path: Path) -> None:
    for name in ("0", "old"):
        (a_sweep(tmp_path) / name).mkdir()
        RunFolder(tmp_path / name).write_config({"seed": 0})
    RunFolder(tmp_path / "0").update_summary(status="finished")
    assert is_finished(tmp_path)
    (tmp_path / "old" / "train.log").touch()  # as a job writes first
    assert not is_finished(tmp_path)


def test_jobs_may_be_called_otherwise_and_damaged_ones_are_not_finished(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)  # nothing was done
    (tmp_path / "seed=0").mkdir()
    RunFolder(tmp_path / "seed=0").update_summary(status="failed", error="oh")
    assert not is_finished(tmp_path) and "job seed=0 failed: oh" in summary(tmp_path, complete=True)
    (tmp_path / "seed=0" / "summary.json").write_text("{")
    assert not is_finished(tmp_path)
    summary(tmp_path, complete=True)


@pytest.mark.parametrize("file", ["summary.json", "config.yaml"])
def test_a_damaged_job_is_left_alone(tmp_path: Path, file: str) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config({"seed": 0})
    folder.update_summary(status="finished")
    (tmp_path / file).write_text("{")
    with pytest.raises(Occupied, match="is damaged; delete the folder"):
        check_same_config(folder, {"seed": 0})


@pytest.mark.skipif(not CAN_SEARCH, reason="requirements-sweep.txt is not installed")
@pytest.mark.parametrize(
    ("monitor", "direction"),
    [
        ("val/miou", "maximize"),
        ("val/iou/car", "maximize"),
        ("val/loss", "minimize"),
        ("val/cross_entropy", "minimize"),
    ],
)
def test_a_search_looks_for_the_least_loss_and_the_highest_metric(monitor: str, direction: str) -> None:
    from sweeps.search import direction_of

    assert direction_of({"direction": None}, monitor) == direction
    assert direction_of({"direction": "minimize"}, monitor) == "minimize"


def test_plugins_get_defaults_that_do_not_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.command_line.find_spec", lambda name: name)
    word = "hydra/launcher=submitit_local"
    assert with_plugin_defaults([word]) == [word, "hydra.launcher.timeout_min=10080"]
    assert with_plugin_defaults([word, "hydra.launcher.timeout_min=5"]) == [word, "hydra.launcher.timeout_min=5"]
    assert with_plugin_defaults(["seed=0,1"]) == ["seed=0,1"]


def test_the_sweeper_of_other_programs_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.command_line.find_spec", lambda name: name)
    with pytest.raises(UserError, match="pip uninstall hydra-optuna-sweeper"):
        with_plugin_defaults(["hydra/sweeper=optuna"])


def test_a_plugin_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.command_line.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -r requirements-sweep\.txt"):
        hydra_words(["-m", "seed=0,1", "hydra/launcher=submitit_slurm"], "train")
