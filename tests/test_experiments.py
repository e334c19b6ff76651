"""The recipes of conf/experiment/, each run for a few steps on a small data set of the true layout."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest
import yaml

from tests.conftest import ROOT, runs_in
from tests.data.layouts import make_camvid, make_cityscapes, make_cityscapes_pairs, make_coco, make_folder, make_voc
from tests.in_process import run_here, succeeded
from train_segmentation import train

SMALL = ("data.image_size=[32,32]", "data.batch_size=2", "data.limit=6", "trainer.epochs=1", "logger=none")
OWN_CROP = ("data.crop_size=[32,32]", "trainer.validate_every=1")
WITHOUT_ENCODER = ("enet_cityscapes", "dilated_unet_cityscapes")
OTHER_CAMVID = (
    *("camvid_enet_trainval", "camvid_separable_unet_trainval", "camvid_deeplabv3plus_trainval"),
    *("camvid_espnet_s0", "camvid_enet_distilled", "camvid_separable_unet_distilled"),
    *("camvid_fast_scnn", "camvid_separable_unet", "camvid_dilated_unet", "camvid_efficient_segnet"),
    *("camvid_espnet", "camvid_efficientdet_d0", "camvid_deeplabv3plus"),
)
LITE = ("voc_efficientdet_d0",)
"""With an encoder whose weights come from the package index."""
WITH_ENCODER = ("espnet_cityscapes", "efficient_segnet_pairs", "efficientdet_d4_coco", "efficientdet_d4_voc")
OF_D4 = WITH_ENCODER[2:]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    for name, make in (
        ("camvid", make_camvid),
        ("cityscapes", make_cityscapes),
        ("cityscapes_pairs", make_cityscapes_pairs),
        ("coco", lambda root: make_coco(root, more=3)),
        ("voc", make_voc),
    ):
        make(folder / name)
    return folder


def sweep(folder: Path, datasets: Path, *words: str) -> dict[str, dict]:
    """Run a sweep and return the summaries of its jobs by their experiment or model."""
    with mock.patch.dict(os.environ, SEGMENTATION_DATA=str(datasets)):
        done = run_here(train, "train", "--multirun", *words, *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(folder)
    jobs = [json.loads((job / "summary.json").read_text()) for job in sorted(run.iterdir()) if job.is_dir()]
    return {word.partition("=")[2]: job for job in jobs for word in job["overrides"] if word in _swept(job)}


def _swept(job: dict) -> list[str]:
    """Return the override of the model or else the experiment of a job."""
    words = [word for word in job["overrides"] if word.partition("=")[0] in ("experiment", "model")]
    return sorted(words)[-1:]


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (WITHOUT_ENCODER, ()),
        (WITH_ENCODER[:2], ("model.encoder_weights=null",)),
        pytest.param(OF_D4, ("model.encoder_weights=null", "model.compound=0"), marks=pytest.mark.slow),
        pytest.param(OF_D4, ("model.encoder_weights=null",), marks=pytest.mark.slow),
        (("camvid_enet",), OWN_CROP),
        pytest.param(OTHER_CAMVID, OWN_CROP, marks=pytest.mark.slow),
        (LITE, ()),
        (("camvid_ablation",), ("data.train_split=train", "data.val_split=val")),
    ],
    ids=["plain", "encoder", "d0 in place of d4", "d4", "camvid", "other networks on camvid", "lite", "ablation"],
)
def test_recipes_run(tmp_path: Path, datasets: Path, names: tuple[str, ...], more: tuple[str, ...]) -> None:
    jobs = sweep(tmp_path, datasets, f"experiment={','.join(names)}", *more)
    assert jobs.keys() == set(names)
    for name, job in jobs.items():
        assert job["status"] == "finished"
        assert job["last"]["step"] >= 2, name


def test_own_data(tmp_path: Path) -> None:
    """A folder of a user's own, whose name is not a plain word."""
    root = make_folder(tmp_path / "my data (2)")
    succeeded(run_here(train, "train", "data=folder", f"data.root={root}", *SMALL, cwd=tmp_path, reports=True))
    (run,) = runs_in(tmp_path)
    assert json.loads((run / "summary.json").read_text())["overrides"][1] == f"data.root={root}"
    assert "val/iou/dog" in (run / "metrics.csv").read_text()


@pytest.mark.slow
def test_the_comparison_runs(tmp_path: Path, datasets: Path) -> None:
    jobs = sweep(tmp_path, datasets, "experiment=espnet_comparison")
    assert jobs.keys() == {"espnet", "unet", "separable_unet", "deeplabv3plus", "bayesian_segnet", "fast_scnn"}
    assert all(job["status"] == "finished" for job in jobs.values())


def test_every_recipe_is_tested() -> None:
    recipes = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    ours = {*WITHOUT_ENCODER, *WITH_ENCODER, "camvid_enet", *OTHER_CAMVID, *LITE}
    ours |= {"camvid_ablation", "espnet_comparison", "_camvid"}
    assert recipes == ours
    compared = yaml.safe_load((ROOT / "conf/experiment/espnet_comparison.yaml").read_text())["hydra"]["sweeper"][
        "params"
    ]
    assert all((ROOT / "conf" / "model" / f"{name}.yaml").is_file() for name in compared["model"].split(","))


def test_what_is_typed_wins_over_a_recipe(tmp_path: Path) -> None:
    done = run_here(train, "train", "--cfg", "job", "experiment=espnet_cityscapes", "model=espnet_s2", cwd=tmp_path)
    config = yaml.safe_load(done.stdout)
    assert config["model"]["encoder"] == "efficientnet_b2" and config["model"]["encoder_weights"] == "imagenet"
