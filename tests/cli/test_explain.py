"""Interpolations and options that are typed wrongly: said in words, with exit code 2 and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.explain import explain
from tests.in_process import assert_refused, run_here

WRONG = [
    ("name=${nothing}", ["name:", "cannot resolve", "'nothing' not found", "\\${"]),
    ("name=${oc.env:NOPE}", ["name:", "Environment variable 'NOPE' not found"]),
    ("notes=a ${oc.env:NOPE} b", ["notes:", "Environment variable 'NOPE' not found"]),
    ("notes=${", ["notes:", "incomplete"]),
    ("notes=${hydra:runtime.cwd}", ["notes:", "only after a run has started"]),
    ("hydra.run.dir=${x}", ["hydra.run.dir:", "'x' not found"]),
    ("hydra.run.dir=a/${oc.env:NOPE}", ["hydra.run.dir:", "'NOPE' not found"]),
    ("seed=${seed}", ["seed:", "Recursive interpolation"]),
    ("seed=${oc.nope:1}", ["seed:", "oc.nope"]),
    ("model.dropout=${x}", ["model.dropout:", "'x' not found"]),
    ("data.limit=${oc.decode:'{'}", ["data.limit:"]),
    ("model=${x}", ["'${x}'"]),
    ("~data", ["~data", "the group is required"]),
    ("~model", ["~model", "the group is required"]),
    ("~data=synthetic", ["~data=synthetic", "the group is required"]),
    ("model=[1,2]", ["model=[1,2]", "pass model=<option>", "available: bayesian_segnet"]),
    ("model={a:1}", ["model={a:1}", "pass model=<option>"]),
    ("experiment=[1]", ["experiment=[1]", "pass experiment=<option>"]),
    ("model=../model/enet", ["model=../model/enet", "pass model=<option>"]),
    ("model=/etc/passwd", ["model=/etc/passwd", "pass model=<option>"]),
    ("model=x/../../model/enet", ["pass model=<option>"]),
    ("data=a/b", ["data=a/b: there is no such option"]),
    ("+model=unet", ["model:", "chosen already"]),
    ("seed=1,2", ["seed=1,2: pass one value, or a list, seed=[1,2], if it takes one"]),
    ("data.image_size=64,96", ["data.image_size=64,96: pass one value, or a list, data.image_size=[64,96], if"]),
    ("loss.weights=[1,1]", ["loss.weights: must not be a list; set its keys: loss.weights.cross_entropy=<value>, "]),
    ("optimizer.betas={a:1}", ["optimizer.betas: must be a list, as in optimizer.betas=[a,b]"]),
    ("~nothing", ["nothing", "Leave out the word"]),
]


@pytest.mark.parametrize(("word", "fragments"), WRONG)
def test_what_is_typed_wrongly(tmp_path: Path, word: str, fragments: list[str]) -> None:
    done = run_here(lambda cfg: None, "train", word, cwd=tmp_path)
    assert_refused(done, *fragments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["sort=${x}", "columns=[a,'${x}']"])
def test_in_a_config_without_data(tmp_path: Path, word: str) -> None:
    done = run_here(lambda cfg: None, "compare", word, cwd=tmp_path)
    assert_refused(done, f"{word.partition('=')[0]}", "cannot resolve", "'x' not found")


@pytest.mark.parametrize("word", ["hydra.sweep.dir=${x}", "model=../model/enet,unet", "model=[1],enet", "~data"])
def test_in_a_sweep(tmp_path: Path, word: str) -> None:
    done = run_here(lambda cfg: None, "train", "--multirun", "seed=0,1", word, cwd=tmp_path)
    assert_refused(done, word.partition("=")[0])
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_cannot_lead_out_of_experiments(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: ../model/enet\n"
    )
    done = run_here(lambda cfg: None, "train", "--config-dir", str(tmp_path), "experiment=mine", cwd=tmp_path)
    assert_refused(done, "model=../model/enet", "conf/model/")
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"]


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("# größe\nseed: 1\n".encode("latin-1"), ["mine.yaml: not a text in UTF-8", "save it as UTF-8"]),
        ("seed: 1\n".encode("utf-16"), ["mine.yaml: not a text in UTF-8", "save it as UTF-8"]),
        (b"defaults:\n  - /experiment: mine\n", ["does a config include itself in its defaults list?"]),
        (b"seed: 0o17\n", ["seed=0o17 (in experiment=mine or conf/train.yaml): must be an integer"]),
        (
            b"trainer: {epochs: many}\n",
            ["=many (in experiment=mine or conf/trainer/default.yaml): must be"],
        ),
        (b"model: {decoder: 3}\n", ["model.decoder", "(in experiment=mine)"]),
    ],
)
def test_mistakes_in_a_config_of_the_user(tmp_path: Path, content: bytes, fragments: list[str]) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(b"# @package _global_\n" + content)
    (tmp_path / "experiment" / "other.yaml").write_text("seed: 1\n")
    done = run_here(lambda cfg: None, "train", "--config-dir", str(tmp_path), "experiment=mine", cwd=tmp_path)
    assert_refused(done, *fragments)


def test_interpolations_that_can_be_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "it's")
    seen: list[tuple[str, str, int]] = []
    words = ["name=${seed}_${oc.env:HOST}", "notes=\\${seed}", "data.limit=${trainer.epochs}", "trainer.epochs=7"]
    run_here(lambda cfg: seen.append((cfg.name, cfg.notes, cfg.data.limit)), "train", *words, cwd=tmp_path)
    assert seen == [("0_it's", "${seed}", 7)]


def test_where_a_yaml_file_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\nb: {{c: 1\n")
    for text, place in ((path.open(), f"{path}, line 3: not valid YAML: "), (path.read_text(), "a config, line 3: ")):
        with pytest.raises(yaml.YAMLError) as caught:
            yaml.safe_load(text)
        message = explain(caught.value)
        assert message.startswith(place) and "unicode string" not in message and "\n" not in message


@pytest.mark.parametrize(
    ("config", "word", "suggested"),
    [
        ("train", "lr=0.1", ["'optimizer.lr'"]),
        ("train", "+lr=0.1", ["'optimizer.lr'"]),
        ("train", "learning_rate=0.1", ["'optimizer.lr'"]),
        ("train", "epochs=3", ["'trainer.epochs'"]),
        ("train", "epoch=3", ["'trainer.epochs'"]),
        ("train", "trainer.lr=3", ["'optimizer.lr'"]),
        ("train", "batch_size=4", ["'data.batch_size'"]),
        ("train", "device=cpu", ["'trainer.device'"]),
        ("train", "workers=2", ["'data.num_workers'"]),
        ("train", "pretrained=true", ["'model.encoder_weights=imagenet'"]),
        ("train", "weights=a.pt", ["'model.weights'"]),
        ("train", "modle=unet", ["'model'"]),
        ("find_lr", "batch_size=4", ["'data.batch_size'"]),
        ("evaluate", "checkpoint=x", []),
        ("evaluate", "batch_size=4", ["'data.batch_size'"]),
        ("preview_augmentation", "batch_size=4", ["'data.batch_size'"]),
        ("benchmark", "modell=unet", ["'model'"]),
        ("infer", "divice=cpu", ["'device'"]),
    ],
)
def test_an_unknown_key_suggests_the_full_one(tmp_path: Path, config: str, word: str, suggested: list[str]) -> None:
    done = run_here(lambda cfg: None, config, word, cwd=tmp_path)
    if suggested:
        assert_refused(done, f"{word.partition('=')[0].lstrip('+')}: unknown key", *suggested)
        assert done.stderr.count("'") == 2 * len(suggested)
    else:
        assert "did you mean" not in done.stderr


def test_a_group_that_a_command_does_not_have(tmp_path: Path) -> None:
    """As in words that were copied from a training."""
    done = run_here(lambda cfg: None, "find_lr", "model=enet", "logger=none", cwd=tmp_path)
    assert_refused(done, "error: logger: this command has no such options; leave it out\n")
