"""The classifier, as a user asks for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import efficientnet_pytorch
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from tests.conftest import ROOT, run_command
from tests.in_process import assert_refused, run_here, succeeded
from tests.models.tester import settled
from tests.printed import rows_of_table
from tools.classify import central_square, classify

CLASSES = 7


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, labels and a photo. Tests must not change it."""
    folder = tmp_path_factory.mktemp("classify")
    torch.manual_seed(0)
    model = efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0", num_classes=CLASSES)
    model._fc.weight.data *= 30  # so that the classes differ
    torch.save(settled(model, passes=30).state_dict(), folder / "b0.pth")
    (folder / "labels.json").write_text(json.dumps({str(i): {"class": f"thing {i}"} for i in range(CLASSES)}))
    photo = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(photo).resize((400, 300)).save(folder / "dog (1).jpg")
    return folder


def classify_here(place: Path, *words: str) -> subprocess.CompletedProcess:
    given = {"model": "efficientnet_b0", "input": "dog (1).jpg", "labels": "labels.json", "weights": "b0.pth"}
    given |= dict(word.split("=", 1) for word in words)
    return run_here(classify, "classify", "device=cpu", *(f"{k}={v}" for k, v in given.items()), cwd=place)


def expected(place: Path) -> list[tuple[str, float]]:
    """What efficientnet-pytorch says of the photo, seen through torchvision's transforms."""
    model = efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0", num_classes=CLASSES).eval()
    model.load_state_dict(torch.load(place / "b0.pth"))
    look = transforms.Compose(
        [
            transforms.CenterCrop(262),  # 300 * 224 / 256, rounded down
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        shares = model(look(Image.open(place / "dog (1).jpg"))[None])[0].softmax(0).tolist()
    return sorted(((f"thing {i}", share) for i, share in enumerate(shares)), key=lambda pair: -pair[1])[:5]


def test_the_five_likeliest_classes(place: Path) -> None:
    done = succeeded(classify_here(place, "format=json"))
    (answer,) = json.loads(done.stdout)
    assert answer["input"] == "dog (1).jpg" and [line["rank"] for line in answer["top"]] == [1, 2, 3, 4, 5]
    wanted = expected(place)
    assert wanted[0][1] - wanted[4][1] > 0.05  # so that the order means something
    assert [line["class"] for line in answer["top"]] == [name for name, _ in wanted]
    assert [line["probability"] for line in answer["top"]] == pytest.approx([share for _, share in wanted], abs=1e-4)
    assert all(line["class"] == f"thing {line['id']}" for line in answer["top"])


def test_a_table_by_the_real_command(place: Path) -> None:
    words = [f"{key}={place / name}" for key, name in {"input": "dog (1).jpg", "weights": "b0.pth"}.items()]
    words += ["model=efficientnet_b0", f"labels={place}/labels.json"]
    done = succeeded(run_command("-m", "tools.classify", *words, cwd=ROOT))
    head, *rows = rows_of_table(done.stdout)
    assert head == ["rank", "class", "probability"] and [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    for row, (name, share) in zip(rows, expected(place), strict=True):
        assert row[1] == name and float(row[2].removesuffix("%")) / 100 == pytest.approx(share, abs=2e-4)


def test_a_folder_with_a_file_that_is_no_image(place: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.png", "inner/a.png"):
        Image.open(place / "dog (1).jpg").save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no image at all")
    done = classify_here(place, f"input={tmp_path}", "format=json")
    assert done.returncode == 1 and "1 of 3 images could not be read" in done.stderr and "c.png" in done.stderr
    assert [Path(answer["input"]).name for answer in json.loads(done.stdout)] == ["b.png", "a.png"]


def test_fewer_classes_than_five(place: Path, tmp_path: Path) -> None:
    state = torch.load(place / "b0.pth")
    state |= {key: state[key][:2] for key in ("_fc.weight", "_fc.bias")}
    torch.save(state, tmp_path / "two.pth")
    (tmp_path / "two.json").write_text('{"1": {"class": "cat"}, "0": {"class": "dog"}}')
    done = succeeded(classify_here(place, f"weights={tmp_path}/two.pth", f"labels={tmp_path}/two.json", "format=json"))
    top = json.loads(done.stdout)[0]["top"]
    assert sorted(line["class"] for line in top) == ["cat", "dog"]
    assert sum(line["probability"] for line in top) == pytest.approx(1)


@pytest.mark.parametrize("size", [224, 240, 260, 300, 380, 456, 528, 600])
def test_what_the_network_looks_at(size: int) -> None:
    """timm's transforms for these weights, but for rounding: a ramp shows which part of the photo is seen."""
    import timm.data
    from timm import get_pretrained_cfg

    name = f"tf_efficientnet_b{[224, 240, 260, 300, 380, 456, 528, 600].index(size)}"
    config = get_pretrained_cfg(f"{name}.aa_in1k", allow_unregistered=True) or get_pretrained_cfg(name)
    assert config is not None and config.input_size == (3, size, size)
    ramp = np.linspace(0, 255, 1000)[None].repeat(700, 0)
    photo = np.stack([ramp, ramp[:, ::-1], np.linspace(0, 255, 700)[:, None].repeat(1000, 1)], -1).astype(np.uint8)
    seen = timm.data.create_transform(
        config.input_size, interpolation=config.interpolation, crop_pct=config.crop_pct, mean=(0, 0, 0), std=(1, 1, 1)
    )(Image.fromarray(photo))
    found = central_square(photo, size).transpose(2, 0, 1)
    assert found.shape == (3, size, size)
    assert np.abs(found.astype(float) - 255 * np.asarray(seen)).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (33, 20)])
def test_photos_of_all_shapes(shape: tuple[int, int]) -> None:
    assert central_square(np.zeros((*shape, 3), np.uint8), 224).shape == (224, 224, 3)


LABELS = '{"0": {"class": "tench"}, "1": {"class": "goldfish"}, ...}'


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["model=efficientnet_b44"], ["model=efficientnet_b44", "did you mean 'efficientnet_b4'?"]),
        (["model=null"], ["model=null", "available: efficientnet_b0, efficientnet_b1"]),
        (["weights=null"], ["weights is missing", "weights=imagenet", "EfficientNet-PyTorch/releases"]),
        (["weights=nowhere.pth"], ["weights: there is no file nowhere.pth"]),
        (["weights=labels.json"], ["labels.json", "not a file of weights"]),
        (["model=efficientnet_b1"], ["weights=b0.pth: weights of another network"]),
        (["input=nowhere.jpg"], ["nowhere.jpg: cannot be read"]),
        (["input=labels.json"], ["labels.json: not an image"]),
        (["labels=nowhere.json"], ["nowhere.json: cannot be read", LABELS]),
        (["labels=b0.pth"], ["b0.pth: not a text in UTF-8", LABELS]),
        (["format=csv"], ["format=csv", "'table' or 'json'"]),
        (["inptu=a.jpg"], ["inptu: unknown key", "did you mean 'input'?"]),
    ],
)
def test_mistakes(place: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(classify_here(place, *words), *fragments)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ('["tench", "goldfish"]', ["not a labels file"]),
        ('{"0": "tench"}', ["0: has no name"]),
        ('{"0": {"name": "tench"}}', ["0: has no name"]),
        ('{"0": {"class": 3}}', ["0: has no name"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"1": {"class": "tench"}}', ["there is no class 0"]),
        ('{"0": {"class": "tench"}, "2": {"class": "goldfish"}}', ["there is no class 1"]),
        ("{}", ["there is no class 0"]),
        ('{"0": {"class": "tench"}', ["line 1: not valid JSON"]),
    ],
)
def test_labels_that_are_none(place: Path, tmp_path: Path, text: str, fragments: list[str]) -> None:
    (tmp_path / "labels.json").write_text(text)
    assert_refused(classify_here(place, f"labels={tmp_path}/labels.json"), *fragments, LABELS)


def test_labels_of_another_number(place: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"0": {"class": "tench"}}')
    assert_refused(
        classify_here(place, f"labels={tmp_path}/labels.json"), "b0.pth: of 7 classes", "number of labels) is 1"
    )


def test_imagenet_weights_without_a_network(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from models import encoders

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(encoders.url_map, "efficientnet-b0", "http://127.0.0.1:9/efficientnet-b0-355c32eb.pth")
    done = classify_here(place, "weights=imagenet")
    assert_refused(done, "weights=imagenet: ", "127.0.0.1:9", f"{tmp_path}/hub", "weights=<path of efficientnet-b0-")
    assert "encoder" not in done.stderr
