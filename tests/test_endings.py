"""How a start ends: exit code, message, and what is left behind."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import runs_in
from tests.in_process import assert_refused, run_here
from utils.errors import Occupied, PartlyFailed, Unreadable, UserError
from utils.files import make_writable
from utils.interruption import Interrupted
from utils.run_folder import RunFolder

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ENDS = [
    (UserError("it is wrong"), 2, "error: it is wrong\n"),
    (Unreadable("a.png: broken (<_io.BytesIO object at 0x7f3a12>)"), 2, "error: a.png: broken (<_io.BytesIO>)\n"),
    (Occupied("somebody is there"), 2, "error: somebody is there\n"),
    (PartlyFailed("2 of 3: <a.B at 0x1f> [Errno 5] oh"), 1, "error: 2 of 3: <a.B> oh\n"),
    (KeyboardInterrupt(), 130, "warning: interrupted\n"),
    (Interrupted(signal.SIGTERM), 143, "warning: SIGTERM: stopped, with everything saved\n"),
    (
        OSError(errno.ENOSPC, "No space left on device", "b.csv"),
        2,
        "error: b.csv: cannot be written (No space left on d",
    ),
    (NO_SPACE, 2, "error: a file: cannot be written (No space left on device)\n"),
    (OSError(errno.EMFILE, "Too many open files"), 2, "error: too many open files: raise the limit"),
    (RuntimeError("a mistake of ours"), 1, "error: failed\nTraceback"),
    (SystemExit(7), 1, "error: failed\nTraceback"),
]


@pytest.mark.parametrize(("error", "code", "said"), ENDS, ids=[repr(error) for error, _, _ in ENDS])
@pytest.mark.parametrize("config", ["compare", "train"])
def test_code_and_message(tmp_path: Path, config: str, error: BaseException, code: int, said: str) -> None:
    def task(cfg: Any) -> None:
        raise error

    done = run_here(task, config, cwd=tmp_path)
    assert done.returncode == code and done.stderr.startswith(said), done.stderr
    # Nothing has begun; only a failure of the program itself is worth a folder.
    kept = config == "train" and code == 1
    assert [RunFolder(run).read_summary()["status"] for run in runs_in(tmp_path)] == ["failed"] * kept


def test_an_error_that_another_one_caused(tmp_path: Path) -> None:
    def task(cfg: Any) -> None:
        raise RuntimeError("cannot save") from NO_SPACE

    assert_refused(run_here(task, "compare", cwd=tmp_path), "cannot be written (No space left on device)")


def test_errors_that_cause_each_other(tmp_path: Path) -> None:
    def task(cfg: Any) -> None:
        first, second = ValueError("first"), ValueError("second")
        first.__cause__ = second
        raise second from first

    assert run_here(task, "compare", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), RuntimeError("no"), None])
def test_folders_for_results_that_do_not_come(tmp_path: Path, error: BaseException | None) -> None:
    (tmp_path / "there").mkdir()

    def task(cfg: Any) -> None:
        make_writable(Path("run", "evaluation"))
        make_writable(Path("there"))
        make_writable(Path("other", "deep"))
        Path("other", "result.txt").write_text("1")
        if error is not None:
            raise error

    run_here(task, "compare", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["other", "result.txt", "there"]


@pytest.mark.parametrize(
    "config", ["infer", "evaluate", "compare", "benchmark", "check_data", "classify", "export", "find_lr"]
)
@pytest.mark.parametrize("flag", ["-m", "--multirun", "--multi"])
def test_only_trainings_are_swept(tmp_path: Path, config: str, flag: str) -> None:
    done = run_here(lambda cfg: None, config, flag, "device=cpu,cuda", cwd=tmp_path)
    assert_refused(done, "--multirun is for train_segmentation.py")
    assert list(tmp_path.iterdir()) == []


def test_the_mode_in_other_words(tmp_path: Path) -> None:
    done = run_here(lambda cfg: None, "compare", "hydra.mode=MULTIRUN", "baseline=a,b", cwd=tmp_path)
    assert_refused(done, "--multirun is for train_segmentation.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["seed=range(0,0)", "seed=range(3,3)"])
def test_a_sweep_of_nothing(tmp_path: Path, word: str) -> None:
    done = run_here(lambda cfg: None, "train", "--multirun", word, "loss=ce_iou,ce_dice", cwd=tmp_path)
    assert_refused(done, "there is nothing to run")
    assert runs_in(tmp_path) == []


def test_a_disk_that_is_full_when_a_run_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "experiments/run/.hydra/config.yaml")

    monkeypatch.setattr("hydra.core.utils._save_config", full)
    done = run_here(lambda cfg: None, "train", cwd=tmp_path)
    assert_refused(done, "experiments/run/.hydra/config.yaml: cannot be written (No space left on device)")
    assert runs_in(tmp_path) == []


def test_a_disk_that_is_full_when_a_sweep_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "experiments/sweep/multirun.yaml")

    monkeypatch.setattr("omegaconf.OmegaConf.save", full)
    done = run_here(lambda cfg: None, "train", "-m", "seed=0,1", cwd=tmp_path)
    assert_refused(done, "experiments/sweep/multirun.yaml: cannot be written (No space left on device)")
    assert runs_in(tmp_path) == []
