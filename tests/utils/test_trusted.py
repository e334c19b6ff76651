"""Configs from elsewhere: nothing in them is interpolated, and nothing outside the allow-list is built."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cli import command_line
from config.nodes import build, plain
from sweeps.resuming import INTERPOLATION, merged_words
from tests.in_process import assert_refused, run_here
from utils.config_groups import CONF
from utils.errors import UserError
from utils.run_folder import RunFolder
from utils.safe_reading import read_yaml
from utils.trusted import check_targets, literal, trusted_class

HIDDEN = [
    "${oc.env:HOME}",
    "${oc.decode:'{a: 1}'}",
    "${oc.create:{_target_: os.mkdir, path: mark}}",
    "${hydra:runtime.cwd}",
    "${run_name:}",
    "${first_start:}",
    "${seed}",
    "a \\${seed} and \\\\${seed} \\",
    "${nothing",
]
"""What OmegaConf would resolve, or fail to."""


MULTIPLIED = b"".join(b"\n%c: &%c [%s]" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 106))
"""Lines of YAML that each hold the line before nine times."""


class Malicious:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, ("mark",)


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    """The config of a run that was started without any words."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose("train"))
    return config


def run_folder(folder: Path, config: dict[str, Any], text: str | None = None) -> Path:
    folder.mkdir()
    RunFolder(folder).write_config(config)
    if text is not None:
        (folder / "config.yaml").write_text(text)
    return folder


def resumed(run: Path, *words: str) -> tuple[Any, dict[str, Any] | None]:
    """What `resume=` says, and the config that the task gets."""
    seen: list[dict[str, Any]] = []
    done = run_here(lambda cfg: seen.append(plain(cfg)), "train", f"resume={run}", *words, cwd=run.parent)
    return done, seen[0] if seen else None


@pytest.mark.parametrize("text", HIDDEN)
def test_every_string_of_a_run_folder_is_literal(tmp_path: Path, usual: dict[str, Any], text: str) -> None:
    config = usual | {"notes": text, "logger": {**usual["logger"], "project": text, "x": [{"y": [text]}]}}
    for node in ("model", "data", "augmentation", "loss", "optimizer", "scheduler", "trainer"):
        config[node] = {**config[node], "extra": {"deep": [[text], {"deeper": text}]}}
    command_line.hydra_words([f"resume={run_folder(tmp_path / 'run', config)}"], "train")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert plain(compose("resume", overrides=["hydra.output_subdir=null"])) == config


def test_a_note_that_looks_like_an_interpolation_is_resumed(tmp_path: Path, usual: dict[str, Any]) -> None:
    done, config = resumed(run_folder(tmp_path / "run", usual | {"notes": "${oc.env:HOME} 1e-3", "name": "1e-3"}))
    assert done.returncode == 0, done.stderr
    assert config is not None and (config["notes"], config["name"]) == ("${oc.env:HOME} 1e-3", "1e-3")


@pytest.mark.parametrize(
    "value",
    [
        r'"\x24{oc.create:{_target_: joblib.load, filename: evil.pkl}}"',
        r'"\u0024{oc.create:{_target_: joblib.load, filename: evil.pkl}}"',
        r'"\x24\x7boc.create:{_target_: pickle.load, file: evil.pkl}}"',
        "!!str ${oc.create:{_target_: joblib.load, filename: evil.pkl}}",
        "{_target_: joblib.load, filename: evil.pkl}",
        "[{a: {_target_: joblib.load, filename: evil.pkl}}]",
        "{_target_: models.enet.torch.load, f: evil.pkl, weights_only: false}",
        "{_target_: albumentations.load, filepath_or_buffer: evil.pkl}",
        r'{"\x5ftarget_": joblib.load, filename: evil.pkl}',
        "{? !!str _target_ : joblib.load, filename: evil.pkl}",
        "&x {<<: {_target_: joblib.load, filename: evil.pkl}}",
        "!!python/object/apply:os.mkdir [mark]",
    ],
)
@pytest.mark.parametrize("place", ["logger.project", "logger._target_", "logger.x.y", "optimizer._partial_", "notes"])
def test_a_hidden_pickle_is_not_loaded(tmp_path: Path, usual: dict[str, Any], place: str, value: str) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious()))
    group, *keys = place.split(".")
    config = {key: node for key, node in usual.items() if key != group}
    target = "" if "_target_" in keys else "  _target_: utils.loggers.TensorBoard\n"
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate([group, *keys])]
    node = f"{lines[0]}\n{target if keys else ''}" + "\n".join(lines[1:]) if keys else lines[0]
    run = run_folder(tmp_path / "run", {}, f"{yaml.safe_dump(config)}{node} {value}\n")

    def task(cfg: Any) -> None:
        build(cfg.logger, "logger", folder="x", first_step=0)
        build(cfg.optimizer, "optimizer", params=[torch.nn.Parameter(torch.zeros(1))])

    done = run_here(task, "train", f"resume={run}", cwd=tmp_path)
    assert not (tmp_path / "mark").exists()
    if place != "notes" or done.returncode != 0:  # where any text may stand, it is literal
        assert_refused(done)


@pytest.mark.parametrize(
    "word",
    [
        r"notes=$\{oc.create\:\{_target_\:joblib.load\,filename\:evil.pkl\}\}",
        r"logger.project=$\{oc.create\:\{_target_\:joblib.load\,filename\:evil.pkl\}\}",
        r"notes=a,$\{oc.env\:HOME\}",
        r"notes=choice(a,$\{oc.env\:HOME\})",
        r"notes=[a,{b:[$\{oc.env\:HOME\}]}]",
        r"notes=$\\\{oc.env\:HOME\}",
        r"notes='\\${oc.env:HOME}'",
        r'notes="${oc.env:HOME}"',
        r"notes=${hydra:runtime.cwd}",
        r"notes=${run_name:}",
        r"logger={_target_:joblib.load,filename:evil.pkl}",
        r"logger=a,{_target_:joblib.load,filename:evil.pkl}",
        r"augmentation.transforms=[{x:[{_target_:joblib.load}]}]",
        r"hydra.launcher.n_jobs={_target_:joblib.load}",
        r"hydra.sweeper.sampler._target_=joblib.load",
        r"model._target_=models.enet.ENet,joblib.load",
        r"model._target_=[models.enet.ENet]",
        r"loss@model=ce_iou",
        r"model=[enet]",
        r"~data",
    ],
)
def test_recorded_words_of_a_sweep_are_plain_values(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match="if you trust it, pass it beside sweep="):
        merged_words([word], [], tmp_path)


@pytest.mark.parametrize(
    "word",
    [
        *("seed=0,1", "seed=range(0,3)", "model=enet,unet", "experiment=glob(*)", "notes='costs \\${5}'"),
        *("optimizer.lr=tag(log,interval(1e-4,1e-1))", "data.image_size=[64,64],[96,96]", "notes='größe $ {x}'"),
        *("model._target_=models.enet.ENet,models.unet.UNet", "loss.weights={cross_entropy:1.0,soft_iou:0.5}"),
        *("+optimizer._target_=torch.optim.RMSprop", "hydra.sweeper.n_trials=3", "data.root='/data/it\\'s'"),
    ],
)
def test_plain_words_go_on(tmp_path: Path, word: str) -> None:
    assert merged_words([word], [], tmp_path) == [word]


@given(st.text(st.sampled_from("a${}\\':=, ")))
@example("\\${'}")
def test_what_counts_as_literal_is_so_for_omegaconf(text: str) -> None:
    """Whatever passes is never resolved, also after Hydra has written and read it again for a job."""
    parser = OverridesParser.create()
    for word in (f"notes='{text}'", f"notes={text}"):
        try:
            value: Any = parser.parse_override(word)._value
        except Exception:
            continue
        if not isinstance(value, str) and not hasattr(value, "text"):
            continue
        for _ in range(2):
            found = getattr(value, "text", value)
            if INTERPOLATION.search(found):
                break
            if "${" in found:
                assert OmegaConf.create({"x": found, "a": 1}).x == found.replace("\\${", "${") or "\\\\" in found
            try:
                value = parser.parse_override(f"notes={Override._get_value_element_as_str(value)}")._value
            except HydraException:  # it cannot read some quotes that it wrote, and says so
                break
            assert not INTERPOLATION.search(getattr(value, "text", value))


@given(st.text(st.sampled_from("a${}\\':. ")) | st.text())
def test_any_string_is_literal(text: str) -> None:
    if text != "???":  # OmegaConf's own word for a missing value
        assert OmegaConf.to_container(OmegaConf.create(literal({"x": [text]})), resolve=True) == {"x": [text]}


def test_the_object_decides_not_its_name() -> None:
    import albumentations

    from models.enet import ENet

    assert trusted_class("models.enet.ENet") is ENet
    assert trusted_class("torch.optim.RMSprop") is torch.optim.RMSprop
    assert trusted_class("albumentations.OneOf") is albumentations.OneOf
    for target in (
        *("models.enet.torch.load", "models.enet.nn.Module", "torch.optim.lr_scheduler.StepLR", "torch.optim.Tensor"),
        *("albumentations.save", "albumentations.BboxParams", "albumentations.pytorch.ToTensorV2", "os.mkdir"),
        *("cli.launch.RunFolderCallback", "data.voc_download.download_voc", "torch.load", "", ".", "torch.optim."),
        *("models.enet.ENet ", " models.enet.ENet", None, 3, ["models.enet.ENet"], {"a": 1}, "enet", "torch.optim.sgd"),
    ):
        assert trusted_class(target) is None


def test_what_is_not_trusted_is_named() -> None:
    with pytest.raises(
        UserError, match=r"here would run a\.0\._target_=mine\.X, .* pass a\.0\._target_=mine\.X beside"
    ):
        check_targets({"a": [{"_target_": "mine.X"}]}, "here", beside="resume=")
    check_targets({"a": [{"_target_": "mine.X"}]}, "here", ["++a.0._target_=mine.X"])


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"a: [", "not valid YAML"),
        (b"a: 2024-01-01", "a value of type date"),
        (b"a: !!set {b}", "a value of type set"),
        (b"1: 2", "a key is not a string"),
        (b"a: " + b"[" * 60 + b"]" * 60, "too deeply nested"),
        (b"a: " + b"[" * 20000, "not"),
        (b"a: &a [b,b,b,b,b,b,b,b,b]" + MULTIPLIED, "too large"),
        (b"\xff\xfe\x00", "not"),
        (b"a: 1\n]", "line 2: not valid YAML"),
        (b"a: \x00", "not valid YAML"),
        (b"#" * 1_100_000, "larger than"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, content: bytes, fragment: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=fragment):
        read_yaml(path)


@pytest.mark.parametrize("content", ["3", "hydra: 3", "[", "hydra: {runtime: {choices: [model]}}", ""])
def test_a_damaged_record_of_hydra(tmp_path: Path, usual: dict[str, Any], content: str) -> None:
    run = run_folder(tmp_path / "run", usual)
    (run / ".hydra").mkdir()
    (run / ".hydra" / "hydra.yaml").write_text(content)
    with pytest.raises(UserError, match=r"hydra\.yaml.*not"):
        command_line.hydra_words([f"resume={run}"], "train")


def test_what_is_built_is_built_once_and_as_it_is_written() -> None:
    node = {
        "_target_": "builtins.dict",
        "text": "${oc.env:HOME}",
        "made": [
            {"_target_": "builtins.dict", "_partial_": True, "z": 2},
            {"x": {"_target_": "builtins.dict", "y": 1}},
        ],
    }
    made = build(node | {"supplied": 3}, "node", supplied=[{"_target_": "left alone"}])
    assert made["text"] == "${oc.env:HOME}" and made["made"][1] == {"x": {"y": 1}} and made["made"][0]() == {"z": 2}
    assert made["supplied"] == [{"_target_": "left alone"}]
