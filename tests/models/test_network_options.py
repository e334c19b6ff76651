"""The options of the group `model`, and the keys that any network has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from config.validation import pretrained_keys
from data.synthetic import Synthetic
from engine.checkpoint import load_checkpoint
from models.efficientnet import EfficientNet
from models.enet import ENet
from tests.conftest import ROOT, TINY, runs_in
from tests.in_process import assert_refused, run_here, succeeded
from tools.find_lr import find
from train_segmentation import train
from utils.config_groups import options

LARGER = re.compile(r"efficientdet_d[1-7]|espnet_s[12]")  # of a network that differs in its size only
KEYS = {"weights", "reset_classifier", "partial_weights", "encoder_weights", "freeze_encoder"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * bool(LARGER.match(name))) for name in options("model")]
)
def test_the_node_of_each_option_builds_its_network(name: str) -> None:
    """By Hydra alone, within the config of a training."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        node = compose("train", [f"model={name}"]).model
    with torch.device("meta"):
        model = instantiate(node, num_classes=19).eval()
        assert model(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 19, 64, 64)


@pytest.mark.parametrize("k", range(8))
def test_efficientdets_differ_in_their_size_only(k: int) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        nodes = [dict(compose(f"model/efficientdet_d{i}_seg").model) for i in (k, 4)]
    assert nodes[0] == {**nodes[1], "compound": k}


def test_networks_of_libraries_keep_the_keys_that_they_take_themselves() -> None:
    assert pretrained_keys() == KEYS
    assert pretrained_keys("models.enet.ENet") == KEYS
    assert pretrained_keys("torchvision.models.segmentation.lraspp_mobilenet_v3_large") == KEYS - {"weights"}
    assert pretrained_keys("segmentation_models_pytorch.Unet") == KEYS - {"encoder_weights"}


def test_a_frozen_encoder_stays_as_it_was_loaded_also_after_resuming(tmp_path: Path) -> None:
    torch.manual_seed(3)
    file = tmp_path / "b0.pth"
    torch.save(EfficientNet("efficientnet_b0").state_dict(), file)
    words = ["model=efficient_segnet", f"model.encoder_weights={file}", "model.freeze_encoder=true", "name=first"]
    succeeded(run_here(train, "train", *words, "trainer.epochs=1", *TINY, cwd=tmp_path))
    expected = torch.load(file)
    file.unlink()
    (run,) = runs_in(tmp_path)
    succeeded(run_here(train, "train", f"resume={run}", "trainer.epochs=2", cwd=tmp_path))
    state: dict[str, Any] = load_checkpoint(run / "checkpoints" / "last.pt")["model"]
    encoder = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    assert len(encoder) > 300
    assert all(torch.equal(value, expected[key]) for key, value in encoder.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=unet", "model.encoder_weights=imagenet"), "model.encoder_weights=imagenet: UNet has no encoder"),
        (("model=enet", "model.freeze_encoder=true"), "model.freeze_encoder=true: ENet has no encoder"),
        (("model=enet", "optimizer.encoder_lr_factor=0.1"), "optimizer.encoder_lr_factor=0.1: ENet has no encoder"),
        (
            ("model=espnet_s0", "model.freeze_encoder=true", "optimizer.encoder_lr_factor=0.1"),
            "optimizer.encoder_lr_factor=0.1 (on the command line): model.freeze_encoder=true freezes the encoder",
        ),
        (("optimizer.encoder_lr_factor=0",), "optimizer.encoder_lr_factor=0 (on the command line): must be greater"),
    ],
)
def test_options_of_the_encoder_without_effect(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run_here(train, "train", *words, *TINY, cwd=tmp_path)
    assert_refused(done, message)
    assert runs_in(tmp_path) == []


def test_a_classifier_of_as_many_other_classes_is_loaded_with_a_warning(tmp_path: Path) -> None:
    """Nothing else tells, as it fits by its shape."""
    file, names = tmp_path / "enet.pt", list(Synthetic((32, 32), "val").labels.names)
    for there, found in ((names, None), (["a", *names[1:]], "a, sky")):
        torch.save({"model": ENet(len(names)).state_dict(), "labels": {"names": there}}, file)
        words = ("model=enet", f"model.weights={file}", "trainer.epochs=1", *TINY)
        done = succeeded(run_here(train, "train", *words, cwd=tmp_path))
        warnings = [line for line in done.stderr.splitlines() if "trained for as many classes" in line]
        assert len(warnings) == (found is not None), done.stderr
        assert found is None or f"differ in {found};" in warnings[0]


def test_find_lr_starts_from_weights_too(tmp_path: Path) -> None:
    done = run_here(find, "find_lr", "model.weights=nowhere.pth", "data.image_size=[32,32]", cwd=tmp_path)
    assert_refused(done, "model.weights=nowhere.pth: there is no such run or file")


def test_the_learning_rate_of_the_encoder_after_resuming(tmp_path: Path) -> None:
    """Resumed, the groups of the optimizer are those of a run that was not interrupted."""
    words = ["model=espnet_s0", "optimizer.encoder_lr_factor=0.25", "trainer.decay_norms=false", "scheduler=poly"]
    succeeded(run_here(train, "train", *words, "trainer.epochs=1", *TINY, cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    succeeded(run_here(train, "train", f"resume={run}", "trainer.epochs=2", cwd=tmp_path))
    checkpoint = load_checkpoint(run / "checkpoints" / "last.pt")
    groups = checkpoint["training"]["optimizer"]["param_groups"]
    assert [group["initial_lr"] / groups[0]["initial_lr"] for group in groups] == [1, 1, 0.25, 0.25]
    assert [group["lr"] / group["initial_lr"] for group in groups] == [groups[0]["lr"] / groups[0]["initial_lr"]] * 4
    encoder = sum(key.startswith("encoder.") for key, value in checkpoint["model"].items() if value.ndim > 1)
    assert len(groups[2]["params"]) == encoder
