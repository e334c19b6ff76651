"""Runs by name, by the beginning of a name, and the latest one."""

from __future__ import annotations

import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest

from utils import find_run as module
from utils.errors import UserError
from utils.find_run import find_run, mark_latest, without_link

FIRST, SECOND = "2026-11-01_10-00-00-000001_dice", "2026-11-02_10-00-00-000001_dice_more"
SWEEP = "2026-11-03_10-00-00-000001_sweep"


@pytest.fixture(autouse=True)
def experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (FIRST, SECOND, f"{SWEEP}/0", "here"):
        (tmp_path / "experiments" / name).mkdir(parents=True)
    (tmp_path / "experiments" / "README.md").write_text("")
    return tmp_path / "experiments"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"experiments/{FIRST}", f"experiments/{FIRST}"),
        (f"experiments/{FIRST}/", f"experiments/{FIRST}"),
        (FIRST, f"experiments/{FIRST}"),
        ("dice", f"experiments/{FIRST}"),  # the whole name counts more than the beginning of another
        ("dice_", f"experiments/{SECOND}"),
        ("2026-11-02", f"experiments/{SECOND}"),
        ("experiments/2026-11-02", f"experiments/{SECOND}"),
        ("sweep/0", f"experiments/{SWEEP}/0"),
        ("sw/0", f"experiments/{SWEEP}/0"),
        ("here", "experiments/here"),
        ("experiments", "experiments"),
    ],
)
def test_names(given: str, expected: str) -> None:
    assert find_run(given, "resume") == expected


def test_hidden_folders_are_no_runs(experiments: Path) -> None:
    (experiments / ".trash_old").mkdir()
    with pytest.raises(UserError):
        find_run(".trash", "resume")


@pytest.mark.parametrize("inside", ["config.yaml", ".hydra", "checkpoints", "summary.json", "0/config.yaml"])
def test_a_run_or_sweep_at_a_path_counts_more_than_a_name(
    tmp_path: Path, inside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dice" / inside).mkdir(parents=True)
    for key in ("resume", "checkpoint", "runs"):
        assert module.find_runs("dice", key) == ["dice"]
    assert capsys.readouterr().err == ""


def test_photos_do_not_hide_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dice" / "images").mkdir(parents=True)
    (tmp_path / "dice" / "images" / "0.png").touch()
    for key in ("resume", "like", "run", "checkpoint", "runs"):
        assert module.find_runs("dice", key) == [f"experiments/{FIRST}"]
        assert capsys.readouterr().err == f"{key}=dice: dice is not a run, but experiments/{FIRST} is\n"
    again = tmp_path / "experiments" / "2026-11-04_10-00-00-000001_dice"
    again.mkdir()
    assert find_run("dice", "resume") == f"experiments/{again.name}"
    assert module.find_runs("dice", "runs") == [f"experiments/{FIRST}", f"experiments/{again.name}"]
    for path in ("./dice/images", "dice/images", str(tmp_path / "dice")):  # of no run
        assert find_run(path, "resume") == str(Path(path))
    (tmp_path / "dic").mkdir()
    assert find_run("dic", "resume") == "dic"  # only the whole name counts
    (tmp_path / "latest").mkdir()
    mark_latest(Path("experiments", SECOND))
    assert find_run("latest", "resume") == f"experiments/{SECOND}"
    (tmp_path / "experiments" / "dice").mkdir()
    assert find_run("experiments/dice", "resume") == "experiments/dice"


def test_a_file_without_suffix_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "bundled_names", lambda: ["a_net"])
    (tmp_path / "dice").touch()
    (tmp_path / "dice.pt").touch()
    for key in ("checkpoint", "distill.teacher", "model.weights", "resume", "run"):
        assert find_run("dice", key) == f"experiments/{FIRST}"
        assert capsys.readouterr().err == f"{key}=dice: dice is not a run, but experiments/{FIRST} is\n"
    assert find_run("./dice", "checkpoint") == "dice" and find_run("dice.pt", "checkpoint") == "dice.pt"
    assert find_run("dice.pt", "resume") == "dice.pt"
    for make in (Path.touch, Path.mkdir):  # a file, and then a folder, such as of predictions of this network
        make(tmp_path / "a_net")
        assert capsys.readouterr().err == ""
        assert find_run("a_net", "checkpoint") == "a_net"
        assert capsys.readouterr().err == "checkpoint=a_net: the network of weights/; for what is here, pass ./a_net\n"
        assert find_run("./a_net", "checkpoint") == str(tmp_path / "a_net")
        assert find_run("a_net", "resume") == "a_net"  # which takes no network of weights/
        if (tmp_path / "a_net").is_file():
            (tmp_path / "a_net").unlink()
    (tmp_path / "a_net" / "checkpoints").mkdir()
    assert find_run("a_net", "checkpoint") == "a_net" and capsys.readouterr().err == ""


def test_a_network_of_weights_counts_more_than_a_name(
    experiments: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "bundled_names", lambda: ["dic", "dice"])
    assert find_run("dic", "checkpoint") == "dic"
    assert capsys.readouterr().err == ""
    assert find_run("dice", "checkpoint") == "dice"
    assert capsys.readouterr().err == (
        f"checkpoint=dice: the network of weights/; for the run, pass experiments/{FIRST}\n"
    )
    assert find_run(FIRST, "checkpoint") == f"experiments/{FIRST}"
    assert find_run("dice", "resume") == f"experiments/{FIRST}"  # which takes no network of weights/
    assert module.find_runs("dice", "runs") == [f"experiments/{FIRST}"]


def message_of(given: str, key: str = "resume") -> list[str]:
    with pytest.raises(UserError) as found:
        find_run(given, key)
    return str(found.value).splitlines()


def test_an_older_run_is_not_taken_for_the_newest_that_lacks_the_file(experiments: Path) -> None:
    older, newer = (experiments / f"2026-11-0{day}_10-00-00-000001_best" for day in (4, 5))
    for folder in (older, newer):
        folder.mkdir()
    (older / "best.pt").write_text("")
    assert message_of("best/best.pt", "checkpoint") == [
        f"checkpoint=best/best.pt: there is no best.pt in experiments/{newer.name}"
    ]


NEWEST = "the newest runs are sweep, dice_more, dice, here"


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ("nothing", "resume=nothing: there is no such run"),
        ("../here", "resume=../here: there is no such run; did you mean 'here'?"),
        ("READ", "resume=READ: there is no such run"),  # a file
        ("latest", "resume=latest: there is no such run"),
        (f"/elsewhere/{FIRST}", f"resume=/elsewhere/{FIRST}: there is no such run"),
        ("dicee", "resume=dicee: there is no such run; did you mean 'dice' or 'dice_more'?"),
        ("more", "resume=more: there is no such run; did you mean 'dice_more'?"),
    ],
)
def test_a_run_that_does_not_exist(given: str, first: str) -> None:
    assert message_of(given) == [first, NEWEST]


def test_several_runs_without_brackets() -> None:
    first, *_ = message_of("dice,here", "checkpoint")
    assert first == "checkpoint=dice,here: there is no such run or file; did you mean checkpoint=[dice,here]?"


@pytest.mark.parametrize("key", ["distill.teacher", "model.weights", "resume"])
def test_several_where_one_is_taken(key: str) -> None:
    assert message_of("[dice,here]", key) == [
        f"{key}=[dice,here]: must be one run{' or file' * ('.' in key)}, not a list"
    ]


def test_a_run_killed_before_it_started_is_not_suggested(experiments: Path) -> None:
    folder = experiments / "2026-11-09_10-00-00-000001_killed"
    (folder / ".hydra").mkdir(parents=True)
    assert message_of("killled") == ["resume=killled: there is no such run", NEWEST]
    assert find_run("killed", "resume") == f"experiments/{folder.name}"  # so that what happened to it can be reported
    (folder / "config.yaml").write_text("")
    assert message_of("killled")[0].endswith("did you mean 'killed'?")


def test_a_job_that_does_not_exist() -> None:
    assert message_of("sweep/7") == [f"resume=sweep/7: there is no 7 in experiments/{SWEEP}"]


def test_a_network_is_offered_where_a_checkpoint_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled_names", lambda: ["enet_camvid"])
    expected = "checkpoint=enet_canvid: there is no such run or file; did you mean 'enet_camvid'?"
    assert message_of("enet_canvid", "checkpoint") == [expected, f"{NEWEST}; weights/ has enet_camvid"]
    assert "did you mean" not in message_of("enet_canvid")[0]
    for given in ("weights/enet_camvid", "enet_camvid.pt", "/elsewhere/enet_camvid.pt"):
        assert message_of(given, "checkpoint")[0].endswith("did you mean 'enet_camvid'?")


@pytest.mark.parametrize("key", ["resume", "like", "run", "runs", "baseline"])
def test_a_network_of_weights_is_not_a_run(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled_names", lambda: ["enet_camvid"])
    for given in ("enet_camvid", "enet_camvid.pt", "weights/enet_camvid"):
        assert message_of(given, key) == [
            f"{key}={given}: enet_camvid is a network of weights/, not a run; pass it as checkpoint= to infer.py and"
            " evaluate.py, or start a training from it with model.weights=enet_camvid"
        ]


def test_before_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "experiments" / "here")
    assert message_of("dice") == ["resume=dice: there is no such run", "experiments has no runs yet"]


def test_the_newest_of_several_with_the_same_name(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = "experiments/2026-11-04_10-00-00-000001_dice"
    Path(again, "checkpoints").mkdir(parents=True)
    assert find_run("dice", "like") == again
    assert capsys.readouterr() == ("", f"like=dice: {again}, the newest of 2 with this name\n")
    assert find_run(FIRST, "like") == f"experiments/{FIRST}" and find_run("2026-11-04", "like") == again
    assert capsys.readouterr() == ("", "")
    assert module.find_runs("dice", "runs") == [f"experiments/{FIRST}", again]
    assert module.find_runs("dic", "runs") == [f"experiments/{FIRST}", f"experiments/{SECOND}", again]


def test_a_sweep_and_a_run_of_the_same_name(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep, run = (f"experiments/2026-11-0{day}_10-00-00-000001_{name}" for day, name in ((5, "lr_sweep"), (6, "lr")))
    Path(sweep, "0").mkdir(parents=True)
    assert find_run("lr", "checkpoint") == find_run("lr_sweep", "checkpoint") == sweep
    Path(run, "figures").mkdir(parents=True)  # as like=lr makes it
    for key in ("checkpoint", "like", "run", "baseline"):
        (message,) = message_of("lr", key)
        assert message == f"{key}=lr: 2 folders match: {sweep}, {run}; pass more of the name"
    assert find_run("lr_sweep", "like") == find_run("lr", "sweep") == sweep
    assert find_run("lr", "resume") == find_run("2026-11-06", "like") == run  # a sweep is not resumed by resume=
    assert find_run("lr/0", "checkpoint") == f"{sweep}/0" and find_run("lr/figures", "checkpoint") == f"{run}/figures"
    assert module.find_runs("lr", "runs") == [sweep, run]
    assert capsys.readouterr().err == ""


def test_several_are_listed_in_a_line() -> None:
    with pytest.raises(UserError) as found:
        find_run("2026", "checkpoint")
    message = str(found.value)
    assert message.startswith("checkpoint=2026: 3 folders match: ") and len(message.splitlines()) == 1
    assert all(name in message for name in (FIRST, SECOND, SWEEP))


def test_the_latest(experiments: Path, tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        mark_latest(Path("experiments", name))
        assert (experiments / "latest").readlink() == Path(name)
        assert find_run("latest", "resume") == find_run("experiments/latest", "resume") == f"experiments/{name}"
    mark_latest(Path("experiments", SWEEP))
    assert find_run("latest/0", "checkpoint") == f"experiments/{SWEEP}/0"
    (tmp_path / "elsewhere").mkdir()
    mark_latest(tmp_path / "elsewhere")
    assert not (tmp_path / "latest").exists()


def test_where_links_cannot_be_made(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no privilege")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for name in (FIRST, SECOND):
        mark_latest(Path("experiments", name))
        assert (experiments / "latest").is_file()
        assert find_run("latest", "resume") == find_run("experiments/latest", "run") == f"experiments/{name}"


def test_a_link_to_elsewhere_is_not_followed(experiments: Path) -> None:
    (experiments / "latest").write_text("../../etc")
    assert without_link(Path("experiments/latest")) == Path("experiments/latest")


def _mark(name: str) -> None:
    deadline = time.monotonic() + 60
    while not Path("enough").exists() and time.monotonic() < deadline:
        mark_latest(Path("experiments", name))


def test_processes_that_start_at_once(experiments: Path) -> None:
    names = [FIRST, SECOND, SWEEP]
    mark_latest(Path("experiments", FIRST))
    with get_context("fork").Pool(3) as pool:
        done = pool.map_async(_mark, names, chunksize=1)
        seen: Counter[str] = Counter()
        while not done.ready() and (len(seen) < 3 or seen.total() < 300):
            seen[str((experiments / "latest").readlink())] += 1
        Path("enough").touch()
        done.get()
    assert set(seen) == set(names)
    assert not list(experiments.glob(".latest*"))
    assert module.find_run("latest", "resume").startswith("experiments/2026")


def test_every_run_of_a_list_is_found() -> None:
    from cli.command_line import hydra_words

    (word,) = hydra_words(["checkpoint=[dice_, here]"], "infer")
    assert word == f"checkpoint=['experiments/{SECOND}','experiments/here']"
    assert hydra_words(["checkpoint=sweep/0"], "infer") == [f"checkpoint='experiments/{SWEEP}/0'"]
    both = f"runs=['experiments/{FIRST}','experiments/{SECOND}']"
    assert hydra_words(["runs=dic"], "compare") == [both]
    assert hydra_words([f"runs=[here,{FIRST}]"], "compare") == [f"runs=['experiments/here','experiments/{FIRST}']"]
    assert hydra_words(["runs=experiments/*dice*"], "compare") == ["runs='experiments/*dice*'"]
