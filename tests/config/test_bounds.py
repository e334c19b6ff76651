"""Numbers that cannot be meant are refused, before torch is imported or a folder made."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir

from config import schema
from config.checks import check_config
from config.nodes import build, plain
from config.validation import Origin
from losses import combinations
from models.layers import check_share
from tests.in_process import assert_refused, run_here
from utils.config_groups import CONF
from utils.errors import UserError

NOWHERE = Origin({}, frozenset())


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train"))


def numbers(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all numbers in nested dictionaries and lists."""
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return [found for key, value in items for found in numbers(value, (*path, key))]
    return [path] if isinstance(node, int | float) and not isinstance(node, bool) else []


def changed(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    config = copy.deepcopy(config)
    node = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return config


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_of_a_training_is_nan_or_infinite(usual: dict[str, Any], value: float) -> None:
    check_config("train", usual, NOWHERE)
    for path in numbers(usual):
        if path[0] != "augmentation":  # albumentations checks its own
            with pytest.raises(UserError, match=f"^{path[0]}"):
                check_config("train", changed(usual, path, value), NOWHERE)


@pytest.mark.parametrize("value", [-1, 1e20, 10**30, True, "1"])
def test_numbers_of_the_loop_are_within_bounds(usual: dict[str, Any], value: Any) -> None:
    paths = [path for path in numbers(usual) if path[0] in ("seed", "trainer")]
    paths += [("data", key) for key in ("batch_size", "num_workers", "limit")]
    paths += [("data", "image_size", 0), ("trainer", "grad_clip"), ("trainer", "early_stopping")]
    assert len(paths) > 10
    for path in paths:
        with pytest.raises(UserError, match=f"^{path[0]}"):
            check_config("train", changed(usual, path, value), NOWHERE)


@pytest.mark.parametrize(
    ("path", "value", "fragment"),
    [
        ("data.image_size", [100_000, 100_000], "must be at most 16,384"),
        ("data.num_workers", 100_000, "must be 'auto' or at most 256"),
        ("trainer.accumulation_steps", 10**20, "must be at most 1,000,000"),
        ("trainer.epochs", 0, "must be at least 1"),
        ("optimizer.lr", 0.0, "must be greater than 0"),
        ("optimizer.lr", -0.1, "must be greater than 0"),
        ("trainer.grad_clip", 0, "must be greater than 0"),
        ("data.image_size", [64], "must have at least 2 values"),
        ("data.image_size", 64, "must be a list"),
        ("trainer.amp", 3, "must be 'auto', 'off', 'fp16' or 'bf16'"),
        ("trainer.channels_last", 1, "must be true or false"),
        ("trainer.monitor", None, "must be a string"),
        ("model.num_classes", 3, "the program sets it"),
        ("loss.weights", 3, "must be a table of keys and values"),
    ],
)
def test_the_message(usual: dict[str, Any], path: str, value: Any, fragment: str) -> None:
    with pytest.raises(UserError) as caught:
        check_config("train", changed(usual, tuple(path.split(".")), value), NOWHERE)
    message = str(caught.value)
    assert message.startswith(path) and fragment in message and "\n" not in message
    assert not any(raw in message for raw in ("Input", "should", "after validation", "[type="))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1e20, 10**30])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("infer", schema.Infer), ("evaluate", schema.Evaluate), ("export", schema.Export)),
        *(("find_lr", schema.FindLr), ("benchmark", schema.Benchmark)),
    ],
)
def test_numbers_of_the_tools(name: str, kind: type[schema.Keys], value: float) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose(name, overrides=["checkpoint=x"] if name in ("evaluate", "export") else []))
    config |= {"checkpoint": "x", "input": "x"} if name == "infer" else {}
    check_config(name, config, NOWHERE)
    groups = ("hydra", "model", "data", "augmentation", "loss", "optimizer")
    paths = [path for path in numbers(config) if path[0] not in groups]
    paths += [(key, 0) for key in ("window", "image_size") if key in kind.model_fields]
    for key, *rest in paths:
        filled = config | ({key: [64, 64]} if rest and config[key] is None else {})
        with pytest.raises(UserError, match=f"^{key}"):
            check_config(name, changed(filled, (key, *rest), value), NOWHERE)


@pytest.mark.parametrize("value", [-0.1, 1.0, 7.0, math.nan, math.inf])
def test_shares(value: float) -> None:
    with pytest.raises(ValueError, match="dropout="):
        check_share(dropout=value)
    check_share(dropout=0.0)


@pytest.mark.parametrize("model", ["enet", "espnet", "fast_scnn", "separable_unet", "bayesian_segnet"])
def test_dropout_of_networks(model: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = plain(compose("train", overrides=[f"model={model}", "model.dropout=1"]).model)
    with torch.device("meta"), pytest.raises(UserError, match=r"model: \w+: dropout=1: must be at least 0 and less"):
        build(node, "model", num_classes=3)


@pytest.mark.parametrize(
    "options",
    [
        *({"class_weights": weights} for weights in ([math.nan, 1], [math.inf, 1], [-1, 1], [1e20, 1], [0, 0])),
        *({"auxiliary_weight": weight} for weight in (math.nan, math.inf, -1, 1e20)),
    ],
)
def test_weights_of_classes(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        combinations.cross_entropy(**options)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1, 1e20])
def test_weights_of_terms(weight: float) -> None:
    with pytest.raises(ValueError, match="soft_iou="):
        combinations.ce_iou({"cross_entropy": 1.0, "soft_iou": weight})
    with pytest.raises(ValueError, match="all are 0"):
        combinations.ce_iou({"cross_entropy": 0.0, "soft_iou": 0.0})
    with pytest.raises(ValueError, match="gamma="):
        combinations.focal(gamma=weight)


class Failing:
    """Fails in the way that its argument names."""

    def __init__(self, how: str) -> None:
        raise {"key": KeyError, "runtime": RuntimeError, "memory": MemoryError, "none": AttributeError}[how](how)


@pytest.mark.parametrize("how", ["key", "runtime", "memory", "none", "other"])
def test_whatever_a_constructor_raises_is_the_users(tmp_path: Path, how: str) -> None:
    node = {"_target_": "tests.config.test_bounds.Failing", "how": how}
    done = run_here(lambda cfg: build(node, "model"), "train", cwd=tmp_path)
    assert_refused_in_run(done, "model: Failing: ")
    assert not list(tmp_path.glob("experiments/*"))


def assert_refused_in_run(done: Any, fragment: str) -> None:
    """As `assert_refused`, by the log of a run that has started."""
    assert done.returncode == 2 and fragment in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["tests.config.test_nothing.X", "tests.config.test_bounds.Nothing", "os.path.sep"])
def test_a_target_that_cannot_be_built(target: str) -> None:
    with pytest.raises(UserError, match=f"_target_={target}: "):
        build({"_target_": target}, "model")


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("trainer.ema_decay=0.5", "trainer.ema_decay=0.5 (on the command line): needs trainer.ema=true"),
        ("loss.auxiliary_weight=0.3", "loss.auxiliary_weight=0.3 (on the command line): needs model.auxiliary=true"),
        ("data.folds=2 data.val_split=test", "data.val_split=test (on the command line): data.folds validates on"),
        ("scheduler.warmup_epochs=30", "warmup_epochs=30 (on the command line): longer than the training"),
        ("trainer.ema_decay=0.5 trainer.ema=false", ""),  # as in a sweep of both
        ("trainer.ema_decay=0.5 trainer.ema=true", ""),
        ("model.auxiliary=true loss.auxiliary_weight=0.3", ""),
    ],
)
def test_options_without_effect(usual: dict[str, Any], words: str, fragment: str) -> None:
    config, typed = usual, set()
    for word in words.split():
        key, _, value = word.partition("=")
        config = changed(config, tuple(key.split(".")), yaml.safe_load(value))
        typed.add(key)
    check_config("train", config, NOWHERE)  # such as in a recipe
    origin = Origin({}, frozenset(typed))
    if not fragment:
        return check_config("train", config, origin)
    with pytest.raises(UserError, match=re.escape(fragment)):
        check_config("train", config, origin)
    return None


def test_what_a_run_records_is_utf_8(usual: dict[str, Any]) -> None:
    for path in (("data", "root"), ("model", "weights")):
        with pytest.raises(UserError, match=rf"^{'.'.join(path)}=.*: must be valid UTF-8; rename it, or pass a link"):
            check_config("train", changed(usual, path, "gr\udcfcn"), NOWHERE)


def test_options_of_other_commands_without_effect(tmp_path: Path) -> None:
    for config, words, fragment in (
        ("infer", ["input=a.png", "format=overlay", "ids=label"], "ids=label: only masks have ids"),
        ("export", ["checkpoint=enet_camvid", "format=torchscript", "calibration=8"], "calibration=8: needs quantize"),
    ):
        assert_refused(run_here(lambda cfg: None, config, *words, cwd=tmp_path), fragment)


def test_what_the_command_line_says(tmp_path: Path) -> None:
    for word, fragment in (
        ("++foo.bar=1", "foo: unknown key (on the command line)"),
        ("~seed", "seed: the key is missing (removed on the command line"),
        ("data.image_size=[a,64]", "data.image_size.0=a (on the command line): must be an integer"),
        ("data.image_size=64x64", "data.image_size=64x64 (on the command line): must be a list"),
        ("data.image_size=null", "data.image_size=null (on the command line): must be a list"),
        ("optimizer.betas=[0.9]", "optimizer.betas=[0.9] (on the command line): has too few values"),
        ("model.num_classes=3", "model.num_classes: the program sets it; leave it out"),
        ("trainer.threads=100000", "trainer.threads=100000 (on the command line): must be 'auto' or at most 1,024"),
        ("trainer.device=cuda:1", "or 'mps'; to choose a GPU, set the environment variable CUDA_VISIBLE_DEVICES=1"),
        ("trainer.checkpoint_minutes=true", "minutes=true (on the command line): must be a number\n"),
    ):
        assert_refused(run_here(lambda cfg: None, "train", word, cwd=tmp_path), fragment)
    done = run_here(lambda cfg: None, "preview_augmentation", "data.image_size=null", cwd=tmp_path)
    assert_refused(done, "data.image_size=null (on the command line): must be a list")
    for config in ("benchmark", "classify"):  # where model= is a plain key of another name
        done = run_here(lambda cfg: None, config, "modle=enet", cwd=tmp_path)
        assert_refused(done, "modle: unknown key; did you mean 'model'?")
    assert_refused(run_here(lambda cfg: None, "benchmark", "model=[]", cwd=tmp_path), "model=[] (on the command line)")
    assert_refused(run_here(lambda cfg: None, "benchmark", "model.x=1", cwd=tmp_path), "model.x: unknown key")
