"""A sample as the network meets it in epoch after epoch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from data.loading import TrainingLoader
from data.resized import ResizedSamples
from data.synthetic import Synthetic
from tests.conftest import ROOT
from tests.in_process import assert_refused, run_here, succeeded
from tests.tools.checked_data import drawn_panels
from tools.preview_augmentation import preview


def preview_here(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return run_here(preview, "preview_augmentation", *words, cwd=cwd)


def test_a_picture_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "seen (1).png"
    done = succeeded(preview_here("index=3", "count=6", f"output={path}", cwd=ROOT))
    assert done.stderr == f"wrote {path}\n"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert (pixels != 255).any(2).mean() > 0.4 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


@pytest.mark.parametrize("augmentation", ["standard", "affine"])
def test_it_shows_what_a_training_with_that_seed_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augmentation: str
) -> None:
    panels = drawn_panels(monkeypatch)
    words = ["data.image_size=[32,64]", "data.size=[48,48]", "data.limit=4", f"augmentation={augmentation}"]
    done = preview_here(*words, "seed=5", "index=2", "count=3", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "outputs" / "augmentation.png").is_file(), done.stderr
    config = OmegaConf.create({"data": {"image_size": [32, 64]}})
    config.augmentation = OmegaConf.load(ROOT / "conf" / "augmentation" / f"{augmentation}.yaml")
    samples = ResizedSamples(Synthetic((48, 48), "train"), (32, 64), masks=True, limit=4)
    transforms = instantiate(config.augmentation, _convert_="all")
    loader = TrainingLoader(samples, transforms, image_size=(32, 64), batch_size=4, seed=5)
    assert [title for title, _, _ in panels] == ["epoch 1", "epoch 2", "epoch 3"]
    for epoch, (_, image, mask) in enumerate(panels):
        loader.order.epoch = epoch
        (batch,) = loader
        place = batch.names.index("train/00002")
        np.testing.assert_array_equal(image, batch.images[place].permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(mask, batch.masks[place].numpy())
    assert (panels[0][1] != panels[1][1]).any()


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["index=4", "data.train_length=4"], ["index=4", "4 samples, counted from 0"]),
        (["index=2", "data.limit=2"], ["index=2", "2 samples, counted from 0"]),
        (["index=-1"], ["index=-1", "at least 0"]),
        (["index=one"], ["index=one", "an integer"]),
        (["count=0"], ["count=0", "at least 1"]),
        (["data=camvid", "data.root=nowhere"], ["no folder nowhere/train"]),
        (["data.train_split=trian"], ["no split 'trian'", "did you mean 'train'?"]),
        (["augmentation=stanard"], ["augmentation=stanard", "did you mean 'standard'?"]),
        (["indx=1"], ["indx: unknown key", "did you mean 'index'?"]),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], fragments: list[str]) -> None:
    assert_refused(preview_here(*words, cwd=tmp_path), *fragments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", [".", "/proc/nowhere.png"])
def test_an_output_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    assert_refused(preview_here(f"output={output}", "count=1", cwd=tmp_path), str(Path(output).parent))
