"""like=<run>: a new run with the config and threads of another."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from config.current_run import options_chosen
from config.nodes import plain
from engine.checkpoint import load_checkpoint
from tests.conftest import runs_in
from tests.in_process import assert_refused, run_here, succeeded
from tools.share import share
from train_segmentation import train
from utils.run_folder import RunFolder


def run_like(folder: Path, run: Path, changes: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write a run folder with the config of another run, with changes, and values of a summary."""
    folder.mkdir(exist_ok=True)
    RunFolder(folder).write_config(yaml.safe_load((run / "config.yaml").read_text()) | changes)
    RunFolder(folder).update_summary(**summary)


def composed(*words: str, cwd: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return config and options of each job of a command."""
    seen: list[tuple[dict[str, Any], dict[str, Any]]] = []
    done = run_here(lambda cfg: seen.append((plain(cfg), options_chosen())), "train", *words, cwd=cwd)
    assert seen, done.stderr
    return seen


def test_it_ends_with_the_same_weights(tmp_path: Path, finished_run: Path) -> None:
    succeeded(run_here(train, "train", f"like={finished_run}", cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    assert run.name.endswith("_tiny") and (tmp_path / "experiments" / "latest").resolve() == run
    first, second = (load_checkpoint(folder / "checkpoints" / "last.pt") for folder in (finished_run, run))
    assert first["model"].keys() == second["model"].keys()
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (finished_run, run)]
    assert summaries[0]["best"]["val/miou"] == summaries[1]["best"]["val/miou"]
    assert summaries[0]["options"] == summaries[1]["options"]
    assert summaries[0]["environment"]["threads"] == summaries[1]["environment"]["threads"]
    assert summaries[1]["overrides"] == [f"like={finished_run}"]
    before, after = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (finished_run, run))
    assert after.pop("trainer") == before.pop("trainer") | {"threads": summaries[0]["environment"]["threads"]}
    assert before == after


def test_keys_and_options_may_follow(tmp_path: Path, finished_run: Path) -> None:
    ((config, options),) = composed(
        f"like={finished_run}", "seed=5", "optimizer=sgd", "optimizer.momentum=0.5", "name=other", cwd=tmp_path
    )
    before = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert config["seed"] == 5 and config["name"] == "other" and config["data"] == before["data"]
    assert config["optimizer"]["_target_"] == "torch.optim.SGD" and config["optimizer"]["momentum"] == 0.5
    assert options["optimizer"] == "sgd" and options["model"] == "enet" and options["data"] == "synthetic"
    assert runs_in(tmp_path)[0].name.endswith("_other")


@pytest.mark.parametrize("words", [["data.image_size=[64,96]"], ["data=folder", "data.image_size=[64,96]"]])
def test_what_depends_on_the_image_size_follows_it(tmp_path: Path, finished_run: Path, words: list[str]) -> None:
    ((config, _),) = composed(f"like={finished_run}", *words, cwd=tmp_path)
    crop = config["augmentation"]["transforms"][1]
    assert config["data"]["crop_size"] == [64, 96] and (crop["height"], crop["width"]) == (64, 96)
    assert config["data"].get("size") == (None if "data=folder" in words else [64, 96])


def test_a_shared_run_has_the_options(tmp_path: Path, finished_run: Path) -> None:
    succeeded(run_here(share, "share", f"run={finished_run}", "output=run.zip", cwd=tmp_path))
    with zipfile.ZipFile(tmp_path / "run.zip") as packed:
        packed.extractall(tmp_path / "elsewhere")
    (shared,) = (tmp_path / "elsewhere").iterdir()
    expected = json.loads((finished_run / "summary.json").read_text())["options"]
    assert expected["model"] == "enet"
    ((_, options),) = composed(f"like={shared}", cwd=tmp_path)
    assert options == expected
    ((_, options),) = composed(f"like={shared}", "optimizer=sgd", "trainer.epochs=1", cwd=tmp_path)
    assert options == expected | {"optimizer": "sgd"}


def test_a_sweep_stands_for_its_best_run(tmp_path: Path, finished_run: Path) -> None:
    sweep = tmp_path / "experiments" / "2026-11-03_10-00-00-000001_seeds_sweep"
    summary = json.loads((finished_run / "summary.json").read_text())
    for job, miou in enumerate((0.2, 0.4, 0.3)):
        shutil.copytree(finished_run, sweep / str(job))
        best = summary["best"] | {"val/miou": miou}
        run_like(sweep / str(job), finished_run, {"seed": 10 + job}, {"best": best})
    seen: list[int] = []
    done = run_here(lambda cfg: seen.append(cfg.seed), "train", "like=seeds", cwd=tmp_path)
    assert seen == [11], done.stderr
    assert "_sweep/1 is the best of its 3 runs by val/miou (0.4000)" in done.stderr
    done = run_here(share, "share", "run=seeds", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / f"{sweep.name}_1.zip").is_file(), done.stderr
    done = run_here(lambda cfg: None, "train", "resume=seeds", cwd=tmp_path)
    assert_refused(done, "the folder of a sweep", f"--multirun sweep={sweep.relative_to(tmp_path)}")


def test_a_sweep_like_a_run_goes_on(tmp_path: Path, finished_run: Path) -> None:
    words = ("--multirun", f"like={finished_run}", "seed=3,4", "optimizer=adam,sgd")
    jobs = composed(*words, cwd=tmp_path)
    assert [(config["seed"], options["optimizer"]) for config, options in jobs] == [
        *((3, "adam"), (3, "sgd"), (4, "adam"), (4, "sgd"))
    ]
    assert all(config["trainer"]["epochs"] == 2 and config["data"]["limit"] == 8 for config, _ in jobs)
    (sweep,) = runs_in(tmp_path)
    again = composed("--multirun", f"sweep={sweep}", cwd=tmp_path)
    assert [config | {"sweep": None} for config, _ in again] == [config for config, _ in jobs]


def test_threads_that_the_machine_does_not_have(tmp_path: Path, finished_run: Path) -> None:
    run_like(tmp_path / "mine", finished_run, {}, {"environment": {"threads": 10_000}})
    ((config, _),) = composed("like=mine", cwd=tmp_path)
    assert config["trainer"]["threads"] == "auto"


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["like=nothing"], ["like=nothing: there is no such run"]),
        (["like=RUN/checkpoints/last.pt"], ["last.pt: a file, not a run folder; pass RUN\n"]),
        (["resume=RUN/metrics.csv"], ["metrics.csv: a file, not a run folder; pass RUN\n"]),
        ([f"resume={__file__}"], [f"a file, not a run folder; model.weights={__file__} starts"]),
        (["like=RUN", "resume=RUN"], ["cannot be combined with resume="]),
        (["like=RUN", "lr=1"], ["lr: unknown key", "optimizer.lr"]),
        (["like=RUN", "experiment=enet_cityscapes"], ["experiment=enet_cityscapes", "leave out like="]),
    ],
)
def test_mistakes(tmp_path: Path, finished_run: Path, words: list[str], fragments: list[str]) -> None:
    words, fragments = ([text.replace("RUN", str(finished_run)) for text in texts] for texts in (words, fragments))
    assert_refused(run_here(lambda cfg: None, "train", *words, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []


def test_a_config_that_would_run_code_is_refused(tmp_path: Path, finished_run: Path) -> None:
    run_like(tmp_path / "evil", finished_run, {"model": {"_target_": "os.system"}}, {})
    assert_refused(run_here(lambda cfg: None, "train", "like=evil", cwd=tmp_path), "os.system", "beside like=")


def test_options_are_not_interpolated(tmp_path: Path, finished_run: Path) -> None:
    run_like(tmp_path / "odd", finished_run, {}, {"options": {"model": "${oc.env:HOME}"}})
    ((_, options),) = composed("like=odd", cwd=tmp_path)
    assert options["model"] == "${oc.env:HOME}"


@pytest.mark.parametrize("trainer", [{}, {"trainer": None}])
def test_a_config_without_trainer(tmp_path: Path, finished_run: Path, trainer: dict[str, Any]) -> None:
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    del config["trainer"]
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text(yaml.safe_dump(config | trainer))
    (tmp_path / "damaged" / "summary.json").write_text(json.dumps({"environment": {"threads": 1}}))
    assert_refused(run_here(lambda cfg: None, "train", "like=damaged", cwd=tmp_path), "trainer")


@pytest.mark.parametrize("key", ["resume", "like"])
def test_a_run_killed_before_it_started(tmp_path: Path, key: str) -> None:
    record = tmp_path / "experiments" / "2026-11-03_10-00-00-000001_killed" / ".hydra"
    record.mkdir(parents=True)
    done = run_here(train, "train", f"{key}=killed", cwd=tmp_path)
    assert_refused(done, f"{key}=experiments/{record.parent.name}: it was ended before it started", "start it again\n")
    (record / "overrides.yaml").write_text("- name='it is killed'\n- ++model=enet\n")
    done = run_here(train, "train", f"{key}=killed", cwd=tmp_path)
    assert_refused(done, "start it again:\npython train_segmentation.py 'name=it is killed' model=enet\n")
