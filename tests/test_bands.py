"""Photos of several bands through the real commands: training, evaluation, inference and export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from config.nodes import build_network
from evaluate import evaluate
from infer import infer
from tests.conftest import TINY, runs_in
from tests.data.tiff_files import write_tiff
from tests.in_process import assert_refused, run_here, succeeded
from tools.check_data import check
from tools.export import export
from train_segmentation import train
from utils.errors import UserError

BANDS = 5
WORDS = (f"data.channels={BANDS}", "data.value_range=[0,10000]", "data.preview_bands=[5,3,2]")


def bands(index: int, channels: int = BANDS, dtype: str = "uint16") -> np.ndarray:
    """Reflectance: the left half is dark in the last band."""
    rng = np.random.default_rng(index)
    image = rng.integers(500, 4000, (32, 32, channels))
    image[:, :16, -1] //= 10
    return image.astype(dtype)


def make_bands(root: Path, image: Callable[[int], np.ndarray] = bands) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 1
    for index in range(6):
        pixels = image(index)
        write_tiff(root / "images" / f"{index}.tif", pixels, extra=[0] * (pixels.shape[2] - 1))
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "val.txt").write_text("4\n5\n")
    labels = {str(i): {"class": name, "color": [i, i, i]} for i, name in enumerate(("water", "land"))}
    (root / "labels.json").write_text(json.dumps(labels))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on photos of five bands of 16 bits; the data are beside it, in `data/`."""
    folder = tmp_path_factory.mktemp("bands")
    data = f"data.root={make_bands(folder / 'data')}"
    words = ("data=folder", data, *WORDS, "trainer.epochs=2", *TINY)
    done = succeeded(run_here(train, "train", *words, cwd=folder, reports=True))
    assert "photos of 5 channels are not RGB: ColorJitter left out" in done.stderr
    assert re.search(r"images are normalised with mean \((0\.\d{2,6}(, |\))){5}", done.stderr), done.stderr
    (found,) = runs_in(folder)
    return found


def test_the_checkpoint_carries_statistics_of_the_training_photos(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    pixels = np.concatenate([bands(i).reshape(-1, BANDS) for i in range(4)]) / 10000
    np.testing.assert_allclose(checkpoint["normalization"]["mean"], pixels.mean(0), atol=1e-5)
    np.testing.assert_allclose(checkpoint["normalization"]["std"], pixels.std(0), atol=1e-5)
    assert checkpoint["model"]["initial.conv.weight"].shape == (13, BANDS, 3, 3)


def test_it_is_resumed_measured_and_used_without_further_words(run: Path, tmp_path: Path) -> None:
    data = run.parents[1] / "data"
    done = succeeded(run_here(evaluate, "evaluate", f"checkpoint={run}", f"output={tmp_path}", cwd=tmp_path))
    (first,) = tmp_path.glob("*.json")
    measured = json.loads(first.read_text())
    done = run_here(
        evaluate,
        "evaluate",
        f"checkpoint={run}",
        "data=folder",
        f"data.root={data}",
        f"output={tmp_path}/b",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (other,) = (tmp_path / "b").glob("*.json")
    assert json.loads(other.read_text())["miou"] == measured["miou"]
    for words in ((), ("window=[32,32]",)):
        places = (
            f"input={data / 'images'}",
            f"output={tmp_path / 'out'}",
            "overwrite=true",
            "format=[mask,side_by_side]",
        )
        done = succeeded(run_here(infer, "infer", f"checkpoint={run}", *places, *words, cwd=tmp_path))
        assert len(list((tmp_path / "out").glob("?.png"))) == 6
    left = np.asarray(Image.open(tmp_path / "out" / "4_side_by_side.png").convert("RGB"))[:32, :32]
    assert left[:, :16, 0].mean() + 50 < left[:, 16:, 0].mean()  # red is the fifth band


@pytest.mark.slow
def test_it_is_exported(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "model.onnx"
    done = succeeded(run_here(export, "export", f"checkpoint={run}", f"output={file}", "dynamic=false", cwd=tmp_path))
    images = run.parents[1] / "data" / "images"
    for source, folder in ((file, "a"), (run, "b")):
        words = (f"checkpoint={source}", f"input={images}", f"output={tmp_path / folder}", "format=mask", "device=cpu")
        done = succeeded(run_here(infer, "infer", *words, cwd=tmp_path))
    same = [
        (np.asarray(Image.open(path)) == np.asarray(Image.open(tmp_path / "b" / path.name))).mean()
        for path in (tmp_path / "a").iterdir()
    ]
    assert len(same) == 6 and min(same) > 0.99
    done = run_here(
        export, "export", f"checkpoint={run}", f"output={tmp_path / 'b.onnx'}", "preprocessing=true", cwd=tmp_path
    )
    assert_refused(done, "preprocessing=true", "data.value_range", "leave it out")


def test_crops_padding_and_a_cache(run: Path, tmp_path: Path) -> None:
    data = run.parents[1] / "data"
    words = [
        "data=folder",
        f"data.root={data}",
        *WORDS,
        *TINY,
        "augmentation=crop",
        "data.crop_size=[48,32]",
        "data.cache=ram",
    ]
    done = run_here(train, "train", *words, "data.fit=pad", "data.image_size=[32,64]", "trainer.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_photos_of_other_channels_are_refused(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "rgb.png")
    done = run_here(infer, "infer", f"checkpoint={run}", f"input={tmp_path / 'rgb.png'}", cwd=tmp_path)
    assert_refused(done, "rgb.png: has 3 channels, expected 5; pass photos of 5 channels")
    done = run_here(
        evaluate,
        "evaluate",
        f"checkpoint={run}",
        "data.channels=3",
        "data.value_range=null",
        "data.preview_bands=null",
        cwd=tmp_path,
    )
    assert_refused(done, "the network takes photos of 5 channels and the data set has 3")


def test_mistakes_in_training(run: Path, tmp_path: Path) -> None:
    data = run.parents[1] / "data"
    train_on = ["data=folder", f"data.root={data}", *TINY]

    def refused(words: list[str], *fragments: str) -> None:
        assert_refused(run_here(train, "train", *train_on, *words, cwd=tmp_path), *fragments)
        assert not list(tmp_path.glob("experiments/*"))

    refused([], "0.tif: it has 5 bands", "data.channels=5 data.value_range=[low,high]")
    refused(["data.channels=7", "data.value_range=[0,1]"], "0.tif: has 5 channels, expected 7", "data.channels=5")
    refused(["data.channels=5"], "0.tif: its values are uint16, not bytes", "data.value_range=[low,high]")
    refused([*WORDS[:2], "data.preview_bands=[1,2,6]"], "data.preview_bands=[1, 2, 6]", "from 1 to data.channels=5")
    refused([*WORDS, "data.cache=device"], "data.cache=device", "data.cache=ram")
    refused([*WORDS, "data.augment_on=device"], "data.augment_on=device", "data.augment_on=cpu")
    refused([*WORDS, "model.in_channels=5"], "model.in_channels: the program sets it")
    done = run_here(train, "train", "data=camvid", "data.channels=4", *TINY, cwd=tmp_path)
    assert_refused(done, "data.channels: unknown key")


def test_a_network_for_rgb_only_is_refused() -> None:
    with pytest.raises(
        UserError, match="takes images of 3 channels, and the data have 5; give it an argument in_channels"
    ):
        build_network({"_target_": "models.efficientnet.EfficientNet"}, 2, in_channels=5)


def test_a_folder_of_mixed_channels_is_named_file_by_file(tmp_path: Path) -> None:
    root = make_bands(tmp_path / "data", lambda index: bands(index, 4 if index % 3 == 1 else BANDS))
    words = ("data=folder", f"data.root={root}", *WORDS)
    assert_refused(run_here(train, "train", *words, *TINY, cwd=tmp_path), "1.tif: has 4 channels, expected 5")
    done = run_here(check, "check_data", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert all(f"{index}.tif: has 4 channels" in done.stderr for index in (1, 4)), done.stderr
