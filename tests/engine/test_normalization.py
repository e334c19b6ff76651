"""Images reach a network as its weights want them: in training, from checkpoints and in exported files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from efficientnet_pytorch import EfficientNet
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

from engine.checkpoint import build_model, load_checkpoint, save_checkpoint
from engine.normalization import IMAGENET, Normalization, normalization_of
from engine.pictures import Pictures
from infer import infer
from inference.predictor import Predictor
from models.deeplabv3plus import DeepLabV3Plus
from models.efficientnet import EfficientNet as EfficientNetClassifier
from models.encoders import EfficientNetEncoder, TimmEncoder
from models.enet import ENet
from models.separable_unet import SeparableUNet
from tests.conftest import TINY, runs_in
from tests.engine.small import Halves, fit
from tests.in_process import assert_refused, run_here, succeeded
from tests.models.tester import loaded, pretrained
from tools.export import export
from train_segmentation import train

PHOTO = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
PIXELS = torch.from_numpy(PHOTO.transpose(2, 0, 1).copy())[None]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
GREY = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def timm_file(name: str, folder: Path) -> str:
    torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    return str(folder / f"{name}.pth")


@pytest.mark.parametrize("name", ["resnet18", "mobilevit_xxs", "tf_mobilenetv3_small_minimal_100", "convnext_atto"])
def test_pretrained_encoders_get_what_timm_gives_them(name: str, tmp_path: Path) -> None:
    encoder = loaded(TimmEncoder(name), timm_file(name, tmp_path))
    config = resolve_data_config({"input_size": (3, 32, 40), "crop_pct": 1.0}, model=timm.create_model(name))
    expected = create_transform(**config)(Image.fromarray(PHOTO))
    torch.testing.assert_close(normalization_of(encoder)(PIXELS)[0], expected)


def test_the_default_of_deeplabv3plus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Xception-65 was trained on values from -1 to 1."""
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: None)  # would download
    model = pretrained(DeepLabV3Plus(3), encoder_weights="imagenet")
    torch.testing.assert_close(normalization_of(model)(PIXELS), PIXELS / 127.5 - 1)
    assert normalization_of(DeepLabV3Plus(3, encoder="xception41")) == IMAGENET  # no weights, no wishes


def test_efficientnets_want_imagenet_unless_trained_by_advprop(tmp_path: Path) -> None:
    """As the README of efficientnet-pytorch prepares images: `img * 2.0 - 1.0` for AdvProp."""
    state = EfficientNet.from_name("efficientnet-b0").state_dict()
    for name in ("efficientnet-b0-355c32eb.pth", "adv-efficientnet-b0-b64d5a18.pth"):
        torch.save(state, tmp_path / name)
    usual = loaded(EfficientNetEncoder(), str(tmp_path / "efficientnet-b0-355c32eb.pth"))
    assert normalization_of(usual) == normalization_of(EfficientNetEncoder()) == IMAGENET
    adversarial = loaded(EfficientNetEncoder(), str(tmp_path / "adv-efficientnet-b0-b64d5a18.pth"))
    torch.testing.assert_close(normalization_of(adversarial)(PIXELS), PIXELS / 255 * 2 - 1)


@pytest.mark.parametrize("network", [EfficientNetEncoder, EfficientNetClassifier])
def test_lite_networks_want_values_around_127(network: type[EfficientNetEncoder]) -> None:
    """`MEAN_RGB` and `STDDEV_RGB` of the published code, in pixels."""
    model = loaded(network("efficientnet_lite0"), "imagenet")
    torch.testing.assert_close(normalization_of(model)(PIXELS), (PIXELS - 127.0) / 128.0)


def test_float_images_are_left_as_they_are() -> None:
    """Those that were augmented on a device come as floats."""
    images = PIXELS.float()
    torch.testing.assert_close(IMAGENET(images), IMAGENET(PIXELS))
    assert torch.equal(images, PIXELS.float())


class Watching(nn.Module):
    """A network of one layer that keeps what it is given."""

    input_mean, input_std = MEAN, STD
    seen: list[Tensor] = []

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.conv(x)


@pytest.mark.parametrize("ema", [False, True])
def test_training_validation_and_pictures_prepare_images_alike(ema: bool, tmp_path: Path) -> None:
    Watching.seen = []
    pictures = Pictures(Halves(4), torch.device("cpu"))
    fit(tmp_path / "run", network=Watching, epochs=1, pictures=pictures, ema=ema)
    known = (np.stack([sample.image for sample in map(Halves(10).__getitem__, range(10))]) / 255 - MEAN) / STD
    expected = torch.from_numpy(known.transpose(0, 3, 1, 2)).float().flatten(1)
    found = torch.cat(Watching.seen).flatten(1)
    assert len(found) == 10 + 4 + 4  # training, validation, pictures
    assert (torch.cdist(found, expected).amin(1) < 1e-2).all()
    stored = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.pt")["normalization"]
    assert stored == {"mean": list(MEAN), "std": list(STD)}


def test_a_run_begins_with_what_its_encoder_wants_and_keeps_it(tmp_path: Path) -> None:
    weights = timm_file("tf_mobilenetv3_small_minimal_100", tmp_path)  # trained on values from -1 to 1
    model = ["model=deeplabv3plus", "model.encoder=tf_mobilenetv3_small_minimal_100"]
    done = run_here(train, "train", *model, f"model.encoder_weights={weights}", "trainer.epochs=1", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)" in done.stderr
    Path(weights).unlink()
    (run,) = runs_in(tmp_path)
    checkpoint = load_checkpoint(run)
    network = build_model(checkpoint).eval()  # which resume= goes on with
    assert Normalization.from_dict(checkpoint["normalization"]) == normalization_of(network) == GREY
    with torch.inference_mode():
        expected = network(PIXELS / 127.5 - 1).softmax(1)[0].numpy()
    predictor = Predictor.from_checkpoint(run)
    predictor.image_size = (32, 40)
    np.testing.assert_allclose(predictor.probabilities(PHOTO), expected, atol=1e-5)


def test_mean_and_std_of_the_config_replace_those_of_the_weights(tmp_path: Path) -> None:
    words = ("model=fast_scnn", "data.mean=[0.4,0.5,0.6]", "data.std=[0.2,0.25,0.3]", *TINY)
    succeeded(run_here(train, "train", *words, "trainer.epochs=1", cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    succeeded(run_here(train, "train", f"resume={run}", "trainer.epochs=2", cwd=tmp_path))
    checkpoint = load_checkpoint(run)
    assert checkpoint["normalization"] == {"mean": list(MEAN), "std": list(STD)}
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        expected = build_model(checkpoint).eval()((PIXELS / 255 - mean) / std).softmax(1)[0].numpy()
    predictor = Predictor.from_checkpoint(run)
    predictor.image_size = (32, 40)
    np.testing.assert_allclose(predictor.probabilities(PHOTO), expected, atol=1e-5)


WRONG_STATISTICS = [
    ("data.mean=[0.5,0.5,0.5]", ["data.mean=[0.5, 0.5, 0.5]", "pass data.mean and data.std with 3 numbers each"]),
    ("data.mean=[0.5,0.5] data.std=[0.5,0.5]", ["data.mean=[0.5, 0.5]", "3 numbers each, one per channel"]),
    ("data.mean=[0.5,0.5,0.5] data.std=[0.5,0.5,0]", ["data.std.2=0", "greater than 0"]),
    ("data.mean=[124,116,104] data.std=[58,57,57]", ["data.mean.0=124", "at most 1"]),
]


@pytest.mark.parametrize(("words", "fragments"), WRONG_STATISTICS)
def test_wrong_mean_and_std(words: str, fragments: list[str], tmp_path: Path) -> None:
    assert_refused(run_here(train, "train", *words.split(), *TINY, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []


def write_checkpoint(path: Path, name: str, network: type[nn.Module], normalization: Normalization) -> Path:
    content = {
        "config": {"model": {"_target_": name}},
        "labels": {"names": ["a", "b"], "colors": [[0, 0, 0], [9, 9, 9]]},
        "image_size": [32, 40],
        "normalization": normalization.to_dict(),
    }
    save_checkpoint(path, {**content, "model": network(2).state_dict()})
    return path


@pytest.mark.slow
def test_exported_files_prepare_images_as_their_checkpoint_says(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "c.pt", "models.separable_unet.SeparableUNet", SeparableUNet, GREY)
    words = [f"checkpoint={file}", "preprocessing=true", "dynamic=false", "output=m.onnx"]
    succeeded(run_here(export, "export", *words, cwd=tmp_path))
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(facts["normalization"]) == {"mean": [0.5] * 3, "std": [0.5] * 3}
    _ids, logits = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"images": PHOTO[None]})
    with torch.inference_mode():
        expected = build_model(load_checkpoint(file)).eval()(PIXELS / 127.5 - 1)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)


def test_weights_of_another_run_bring_its_normalisation(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "c.pt", "models.enet.ENet", ENet, GREY)
    assert normalization_of(pretrained(ENet(2), weights=str(file))) == GREY
    assert normalization_of(pretrained(ENet(3), weights=str(file), reset_classifier=True)) == GREY
    torch.save(ENet(2).state_dict(), tmp_path / "plain.pth")
    assert normalization_of(pretrained(ENet(2), weights=str(tmp_path / "plain.pth"))) == IMAGENET


def test_weights_of_a_checkpoint_in_infer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([0.9, 0.1, 0.5]).view(3, 1, 1), torch.tensor([0.05, 0.5, 0.1]).view(3, 1, 1)
    odd = Normalization((0.9, 0.1, 0.5), (0.05, 0.5, 0.1))
    file = write_checkpoint(tmp_path / "c.pt", "models.enet.ENet", ENet, odd)
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    labels = {i: {"class": name, "color": [i, i, i]} for i, name in enumerate("ab")}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words = ["model=enet", f"weights={file}", "labels=labels.json", "image_size=[32,40]", "format=mask", "device=cpu"]
    succeeded(run_here(infer, "infer", *words, "input=a.png", "output=x.png", cwd=tmp_path))
    model = build_model(load_checkpoint(file)).eval()
    with torch.inference_mode():
        images = (PIXELS / 255 - mean) / std
        expected, usual = (model(given).argmax(1)[0].numpy() for given in (images, IMAGENET(PIXELS)))
    found = np.asarray(Image.open(tmp_path / "x.png"))
    assert (found == expected).mean() > 0.999 > (found == usual).mean()
