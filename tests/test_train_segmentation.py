"""The training command as a user runs it: the run folder, resuming, sweeps, and invalid data."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import confusion_matrix

from data.synthetic import Synthetic
from engine.checkpoint import build_model, load_checkpoint
from inference.predictor import Predictor
from tests.conftest import TINY, run_command, runs_in, start_command, wait_for
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train
from utils.errors import UserError

SCRIPT = "train_segmentation.py"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "last.pt")["model"]


def test_the_run_folder_is_complete(finished_run: Path) -> None:
    run = finished_run
    assert run.name.endswith("_tiny")
    expected = ["config.yaml", "metrics.csv", "summary.json", "train.log", "checkpoints/best.pt", "checkpoints/last.pt"]
    expected += [f"figures/{name}.png" for name in ("curves", "predictions", "confusion_matrix")]
    expected += ["figures/confusion_matrix.csv", "figures/samples/index.json"]
    expected += [".hydra/config.yaml", ".hydra/overrides.yaml"]
    for name in expected:
        assert (run / name).stat().st_size > 0, name
    assert list((run / "tensorboard").glob("events.*"))
    assert not list(run.rglob("*.tmp"))
    for name in ("curves", "predictions", "confusion_matrix"):
        assert min(Image.open(run / "figures" / f"{name}.png").size) > 200
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["epochs"] == 2 and config["data"]["size"] == [32, 32] and config["name"] == "tiny"
    log = (run / "train.log").read_text()
    assert "building" in log and "\r" not in log and "\x1b" not in log
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (first,) = [line for line in log.splitlines() if "epoch 1/2, best val/miou" in line]
    (last,) = [line for line in log.splitlines() if "epoch 2/2, best val/miou" in line]
    for line, row in ((first, rows[0]), (last, rows[1])):
        for column in ("train/loss", "val/soft_iou", "val/miou"):
            assert f"{column} {float(row[column]):.4f}" in line


def test_what_a_run_leaves_for_comparing_is_that_of_its_best_network(finished_run: Path) -> None:
    best = load_checkpoint(finished_run / "checkpoints" / "best.pt")
    with (finished_run / "figures" / "confusion_matrix.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["true class", *best["labels"]["names"]] and [row[0] for row in rows] == head[1:]
    assert [[int(count) for count in row[1:]] for row in rows] == best["confusion"].tolist()

    folder = finished_run / "figures" / "samples"
    index = json.loads((folder / "index.json").read_text())
    assert [sample["number"] for sample in index["samples"]] == [0, 2, 5, 7]  # evenly spread over eight
    assert {path.name for path in folder.iterdir()} == {"index.json"} | {
        sample[part] for sample in index["samples"] for part in ("image", "truth", "prediction")
    }
    data, predictor = Synthetic((32, 32), "val"), Predictor.from_checkpoint(finished_run)
    for entry in index["samples"]:
        sample = data[entry["number"]]
        prediction = predictor.predict(sample.image)
        assert entry["name"] == sample.name
        assert entry["wrong"] == pytest.approx(float((prediction != sample.mask).mean()))
        for part, mask in (("truth", sample.mask), ("prediction", prediction)):
            colors = np.array(predictor.labels.colors, np.uint8)[mask]
            assert np.array_equal(np.asarray(Image.open(folder / entry[part]).convert("RGB")), colors)
        photo = np.asarray(Image.open(folder / entry["image"])).astype(int)
        assert photo.shape == sample.image.shape and np.abs(photo - sample.image).mean() < 16


def test_metrics_csv(finished_run: Path) -> None:
    with (finished_run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    terms = ["loss", "cross_entropy", "soft_iou"]
    classes = ["sky", "building", "road", "pavement", "vegetation", "pole", "sign", "car", "person"]
    assert list(rows[0]) == [
        *("epoch", "step", "lr"),
        *(f"train/{t}" for t in terms),
        *(f"val/{t}" for t in terms),
        *("val/miou", "val/dice", "val/pixel_accuracy"),
        *(f"val/iou/{c}" for c in classes),
        *("images_per_second", "seconds"),
    ]
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "2"), ("2", "4")]
    for row in rows:
        assert float(row["train/loss"]) == pytest.approx(
            float(row["train/cross_entropy"]) + float(row["train/soft_iou"])
        )


def test_summary_json(finished_run: Path) -> None:
    summary = json.loads((finished_run / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["name"] == "tiny" and summary["seed"] == 0
    assert "trainer.epochs=2" in summary["overrides"]
    assert summary["last"]["epoch"] == 2
    assert summary["parameters"] == sum(t.numel() for n, t in weights(finished_run).items() if not n.endswith(
        ("running_mean", "running_var", "num_batches_tracked")))  # fmt: skip
    assert summary["environment"]["torch"] == torch.__version__
    assert set(summary["environment"]) >= {"python", "torch", "device", "git_commit", "git_dirty"}
    assert summary["seconds"] > 0 and summary["started"] < summary["ended"]


def test_the_reported_metrics_are_those_of_the_best_checkpoint(finished_run: Path) -> None:
    """Recomputed with scikit-learn from the predictor's masks."""
    best = json.loads((finished_run / "summary.json").read_text())["best"]
    predictor = Predictor.from_checkpoint(finished_run)
    dataset = Synthetic(size=(32, 32), split="val", val_length=8)
    samples = [dataset[i] for i in range(8)]
    truth = np.concatenate([s.mask.ravel() for s in samples])
    predicted = np.concatenate([predictor.predict(s.image).ravel() for s in samples])
    counts = confusion_matrix(truth, predicted, labels=range(9))
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    iou = counts.diagonal()[union > 0] / union[union > 0]
    assert best["val/miou"] == pytest.approx(iou.mean(), abs=1e-9)
    assert best["val/pixel_accuracy"] == pytest.approx((truth == predicted).mean(), abs=1e-9)


def test_two_runs_of_one_config_are_equal(tmp_path: Path, finished_run: Path) -> None:
    """The other one without workers, in a process with another hash seed."""
    succeeded(run_command(SCRIPT, "trainer.epochs=2", *TINY, "data.num_workers=2", cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    first, second = weights(finished_run), weights(run)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resuming_a_finished_run(tmp_path: Path, finished_run: Path) -> None:
    run = tmp_path / "it's a run, (1)"  # the name of a folder is the user's affair
    shutil.copytree(finished_run, run)
    record = (run / ".hydra" / "config.yaml").read_text()
    done = run_here(train, "train", f"resume={run}", cwd=tmp_path)
    assert done.returncode == 0 and "is finished" in done.stderr
    refused = run_here(train, "train", f"resume={run}", "seed=1", "model.dropout=0.3", cwd=tmp_path)
    assert refused.returncode == 2
    assert "seed was 0 and is now 1" in refused.stderr and "model.dropout was 0.1 and is now 0.3" in refused.stderr
    refused = run_here(train, "train", f"resume={run}", "data.image_size=[64,64]", cwd=tmp_path)
    assert_refused(refused, "a resumed run keeps its config, but data.image_size was [32, 32] and is now [64, 64]")
    assert "for a new run with other values, pass like= instead of resume=" in refused.stderr
    refused = run_here(train, "train", f"resume={run}", "data=camvid", cwd=tmp_path)
    assert refused.returncode == 2 and "data=synthetic, not data=camvid" in refused.stderr
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    refused = run_here(train, "train", f"resume={run}", "trainer.epochs=1", cwd=tmp_path)
    assert refused.returncode == 2 and "has trained for 2 epochs already" in refused.stderr
    words = ["model=enet", f"resume={run}", "trainer.epochs=3", "data.num_workers=1"]
    more = succeeded(run_here(train, "train", *words, cwd=tmp_path))
    assert "resumed after epoch 2 of 3, step 4\n" in more.stderr
    resumed = json.loads((run / "summary.json").read_text())["resumed"]
    assert [words[-2:] for words in resumed] == [["trainer.epochs=3", "data.num_workers=1"]]
    # A warm-up of 2 of 6 steps, then 0.004 (1 - t) ** 0.9: step 4 has t = 2 / 4, and step 5 has t = 3 / 4.
    assert "trainer.epochs was 2: the schedule is recomputed over 3 epochs" in more.stderr
    assert "continues at 0.0021, after 0, and ends at 0.0011" in more.stderr
    (continuation,) = json.loads((run / "summary.json").read_text())["continuations"]
    assert (continuation["after_epoch"], continuation["epochs"], continuation["words"]) == (2, 3, resumed[0])
    with (run / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["epochs"] == 3
    assert (run / ".hydra" / "config.yaml").read_text() == record
    assert runs_in(tmp_path) == []


THREE_EPOCHS = ("trainer.epochs=3", *TINY)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    succeeded(run_here(train, "train", *THREE_EPOCHS, cwd=folder))
    return runs_in(folder)[0]


@pytest.mark.parametrize(
    ("number", "code", "whole_group"),
    [(signal.SIGINT, 130, False), pytest.param(signal.SIGTERM, 143, True, marks=pytest.mark.slow)],
)
def test_a_stopped_run_says_how_to_go_on_and_loses_nothing(
    tmp_path: Path, uninterrupted: Path, number: int, code: int, whole_group: bool
) -> None:
    """The signal comes to the main process, or to its workers as well, as a terminal or a scheduler sends it."""
    held = "logger._target_=tests.holding.Holding"  # after the first epoch: a busy machine might miss the others
    process = start_command(SCRIPT, *THREE_EPOCHS, held, "data.num_workers=1", cwd=tmp_path)
    wait_for("held", tmp_path, process)
    os.killpg(process.pid, number) if whole_group else process.send_signal(number)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=300)
    (run,) = runs_in(tmp_path)
    assert process.returncode == code, errors
    assert f"python train_segmentation.py resume=experiments/{run.name}" in errors
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    succeeded(run_here(train, "train", f"resume=experiments/{run.name}", held, cwd=tmp_path))
    first, second = weights(uninterrupted), weights(run)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"


def test_a_run_that_ended_before_its_figures_were_drawn_is_completed(tmp_path: Path, finished_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    shutil.rmtree(run / "figures")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    assert run_here(train, "train", f"resume={run}", cwd=tmp_path, reports=True).returncode == 0
    assert (run / "figures" / "curves.png").exists()
    after = json.loads((run / "summary.json").read_text())
    assert after["status"] == "finished" and after["overrides"] == summary["overrides"]


def test_a_folder_that_exists_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    done = run_here(train, "train", "hydra.run.dir=taken", *TINY, cwd=tmp_path)
    assert done.returncode == 2 and "taken exists already" in done.stderr
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["thesis.tex"]


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "experiments").write_text("a file is in the way")
    done = run_here(train, "train", *TINY, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: experiments/")
    assert len(done.stderr.splitlines()) <= 2


def break_camvid(root: Path, how: str) -> list[str]:
    """Damage a CamVid; return what the message must name."""
    image, mask = root / "train" / "002.jpg", root / "trainannot" / "002.png"
    if how == "no root":
        shutil.rmtree(root)
        return [str(root / "train"), "data.root="]
    if how == "empty split":
        for path in (*(root / "val").iterdir(), *(root / "valannot").iterdir()):
            path.unlink()
        return ["the split 'val' is empty", str(root)]
    if how == "unreadable image":
        image.write_bytes(b"not a picture")
        return [str(image), "not an image"]
    if how == "truncated image":
        image.write_bytes(image.read_bytes()[:-200])
        return [str(image), "truncated"]
    if how == "zero bytes":
        image.write_bytes(b"")
        return [str(image), "empty (0 bytes)"]
    if how == "another size":
        Image.fromarray(np.zeros((20, 48), np.uint8)).save(mask)
        return [str(image), str(mask), "48x40", "48x20"]
    if how == "unknown id":
        Image.fromarray(np.full((40, 48), 12, np.uint8)).save(mask)
        return [str(mask), "outside the label set: 12"]
    mask.unlink()
    return [str(image), "no mask"]


def test_a_network_that_only_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its training is reported, and resumed where it is typed again. Checkpoints from elsewhere cannot name it."""
    monkeypatch.setattr("utils.trusted._named", set())
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_network.py").write_text("from models.enet import ENet\n\nclass Net(ENet): ...\n")
    named = "model._target_=own_network.Net"
    succeeded(run_here(train, "train", named, *TINY, "trainer.epochs=1", cwd=tmp_path, reports=True))
    (run,) = runs_in(tmp_path)
    monkeypatch.setattr("utils.trusted._named", set())
    more = [f"resume={run}", "trainer.epochs=2"]
    assert_refused(run_here(train, "train", *more, cwd=tmp_path), f"if you trust it, pass {named} beside resume=")
    with pytest.raises(
        UserError, match=r"names .own_network\.Net. as its model, .*; if you trust it, name it in a file of"
    ):
        build_model(load_checkpoint(run))
    succeeded(run_here(train, "train", *more, named, cwd=tmp_path))


@pytest.mark.parametrize(
    "how",
    [
        *("no root", "empty split", "unreadable image", "truncated image", "zero bytes"),
        *("another size", "unknown id", "no mask"),
    ],
)
def test_data_that_is_not_right_is_refused_before_a_run_folder_is_left(tmp_path: Path, camvid: Path, how: str) -> None:
    fragments = break_camvid(camvid, how)
    words = ["data=camvid", f"data.root={camvid}", "data.image_size=[32,32]", "data.num_workers=0"]
    done = run_here(train, "train", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    message = done.stderr.splitlines()
    assert message[0].startswith("error: ") and len(message) <= 2
    for fragment in fragments:
        assert fragment in done.stderr
    assert runs_in(tmp_path) == []


@pytest.mark.parametrize(
    ("word", "fragment"),
    [
        ("trainer.device=cuda", "'cuda' is not available"),
        ("optimizer.betas=[0.9,2]", "optimizer: AdamW: Invalid beta"),
        ("trainer.monitor=val/mIoU", "did you mean 'val/miou'"),
        ("loss.class_weights=[1,2]", "2 weights for 9 classes"),
        ("data.train_split=trian", "did you mean 'train'"),
        ("augmentation.transforms.0.p=2", "augmentation.transforms[0].p=2: must be at most 1"),
        ("scheduler.power=-1", "power=-1: must be greater than 0"),
        ("model.dropout=2", "model: ENet: dropout=2: must be at least 0"),
        ("model=espnet model.encoder=efficientnet_b9", "did you mean 'efficientnet_b"),
        ("model=deeplabv3plus model.encoder=xception66", "did you mean 'xception65'"),
        ("model=espnet model.encoder_weights=nowhere.pth", "there is no file nowhere.pth"),
        ("model=enet model.weights=nowhere.pth", "model.weights=nowhere.pth: there is no such run or file"),
        ("model=enet model.weights=enet_canvid", "did you mean 'enet_camvid'"),
        ("model.auxiliary=true loss.auxiliary_weight=-1", "auxiliary_weight=-1: the weight must be from 0"),
    ],
)
def test_what_only_building_shows_leaves_no_folder_either(tmp_path: Path, word: str, fragment: str) -> None:
    if word == "trainer.device=cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = run_here(train, "train", *TINY, *word.split(), cwd=tmp_path)
    assert done.returncode == 2 and fragment in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert runs_in(tmp_path) == []


def test_a_resumed_checkpoint_that_does_not_fit(tmp_path: Path, finished_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    last = run / "checkpoints" / "last.pt"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    done = run_here(train, "train", f"resume={run}", "trainer.epochs=3", cwd=tmp_path)
    assert done.returncode == 2 and "damaged or truncated" in done.stderr
    checkpoint = torch.load(finished_run / "checkpoints" / "last.pt", weights_only=True)
    checkpoint["model"]["fullconv.weight"] = torch.zeros(16, 5, 3, 3)
    torch.save(checkpoint, last)
    done = run_here(train, "train", f"resume={run}", "trainer.epochs=3", cwd=tmp_path)
    assert done.returncode == 2 and "fullconv.weight is (16, 5, 3, 3)" in done.stderr
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("key", ["distill", "data.fold"])
def test_a_resumed_run_needs_all_keys_of_its_config(tmp_path: Path, finished_run: Path, key: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    group, _, name = key.rpartition(".")
    del (config[group] if group else config)[name]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    done = run_here(train, "train", f"resume={run}", "trainer.epochs=3", cwd=tmp_path)
    assert done.returncode == 2 and f"error: {key}: the key is missing" in done.stderr, done.stderr


def test_a_failure_inside_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the program itself in the middle of the training."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("engine.loop.TrainingLoop._train_epoch", fail)
    done = run_here(train, "train", *TINY, cwd=tmp_path)
    (run,) = runs_in(tmp_path)
    assert done.returncode == 1
    assert "Traceback" in (run / "train.log").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed" and "ZeroDivisionError" in summary["error"]
    assert (run / "checkpoints" / "last.pt").exists()
