"""Several runs measured by one command."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comparison.runs import Run
from data.camvid import CamVid
from data.labels import LabelSet
from evaluation.identity import SAME, result_of
from evaluation.measuring import measure
from infer import infer
from inference.predictor import Predictor
from runs.evaluating import _report
from tests.comparison.folders import make_run
from tests.evaluation.networks import evaluate_here
from tests.in_process import assert_refused, run_here, succeeded
from utils.errors import PartlyFailed


@pytest.fixture
def runs(tmp_path: Path, street: Path) -> Path:
    """A folder of three runs with a network each, the second with other weights, and of a broken one."""
    for number, name in enumerate(("a", "b", "c")):
        folder = make_run(tmp_path / "runs" / name, 0.5 + number / 10) / "checkpoints"
        folder.mkdir()
        shutil.copy(street, folder / "best.pt")
    change_weights(tmp_path / "runs" / "b" / "checkpoints" / "best.pt")
    (make_run(tmp_path / "runs" / "broken") / "checkpoints").mkdir()
    (tmp_path / "runs" / "broken" / "checkpoints" / "best.pt").write_bytes(b"nothing")
    return tmp_path / "runs"


def change_weights(path: Path, shift: int = 1) -> None:
    """Make the network of a checkpoint mistake each class for another one."""
    checkpoint = torch.load(path, weights_only=True)
    for name in ("fullconv.weight", "fullconv.bias"):
        checkpoint["model"][name] = checkpoint["model"][name].roll(shift, 1 if name.endswith("weight") else 0)
    torch.save(checkpoint, path)


def miou(folder: Path, predictor: Any) -> float:
    """The mIoU on the validation split, class by class with NumPy."""
    dataset = CamVid(str(folder / "camvid"), "val")
    pairs = [(predictor.predict(dataset[i].image), dataset[i].mask) for i in range(len(dataset))]
    said = np.concatenate([mask[truth != 255] for mask, truth in pairs])
    true = np.concatenate([truth[truth != 255] for _, truth in pairs])
    ious = [((said == c) & (true == c)).sum() / max(((said == c) | (true == c)).sum(), 1) for c in range(11)]
    return float(np.mean([iou for c, iou in enumerate(ious) if ((said == c) | (true == c)).any()]))


class Mean:
    """The mean of the probabilities of runs a and b, at the size of their logits, by hand."""

    def __init__(self, runs: Path) -> None:
        self.members = [Predictor.from_checkpoint(runs / name) for name in ("a", "b")]

    def predict(self, image: np.ndarray) -> np.ndarray:
        shares = []
        for member in self.members:
            resized = member.resized(image)
            assert resized is not None
            with torch.no_grad():
                shares.append(member.model(member.normalization(resized)).softmax(1))
        logs = ((shares[0] + shares[1]) / 2).log()
        large = torch.nn.functional.interpolate(logs, image.shape[:2], mode="bilinear", align_corners=False)
        return large[0].argmax(0).numpy()


def test_all_are_measured_and_a_broken_one_is_named(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = CamVid.__getitem__

    def counting(self: CamVid, index: int) -> object:
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(CamVid, "__getitem__", counting)
    monkeypatch.setattr("evaluation.results._drawn", lambda *_: None)
    done = evaluate_here("runs=runs", "split=val", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 4 runs could not be measured:\nruns/broken: " in done.stderr
    assert "3 runs, 0 of them measured before" in done.stderr
    assert sorted(read) == [0, 1, 2]  # once, though three networks predicted them
    monkeypatch.undo()
    found = {path.parents[1].name: json.loads(path.read_text()) for path in runs.glob("*/evaluation/val.json")}
    assert found.keys() == {"a", "b", "c"}
    for name in ("a", "b"):
        expected = miou(tmp_path, Predictor.from_checkpoint(runs / name))
        assert found[name]["miou"] == pytest.approx(expected)
        assert re.search(rf"\| {name} +\| +val \| {expected:.4f} \|", done.stderr)
        assert re.search(rf"^runs/{name}: mIoU {expected:.4f} \([123] of 4\)$", done.stderr, re.MULTILINE)
    assert abs(found["a"]["miou"] - found["b"]["miou"]) > 1e-3
    assert found["a"]["weights"] == found["c"]["weights"] != found["b"]["weights"]


def test_every_run_that_was_trained_on_the_split_is_warned_of(tmp_path: Path, runs: Path) -> None:
    """Each line is logged once, although it holds for two runs."""
    shutil.rmtree(runs / "broken")
    for name in ("b", "c"):
        path = runs / name / "checkpoints" / "best.pt"
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["config"]["data"]["train_split"] = "trainval"
        torch.save(checkpoint, path)
    done = succeeded(evaluate_here("runs=runs", "split=val", "data.limit=1", cwd=tmp_path))
    assert re.findall(r"the network was trained on photos of it \((\S+)\)", done.stderr) == [
        "data.train_split=trainval"
    ]


def test_what_is_measured_is_kept_when_it_is_interrupted(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(runs / "broken")
    begun: list[int] = []

    def interrupted(*arguments: Any) -> Any:
        begun.append(1)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGTERM)
        return measure(*arguments)

    monkeypatch.setattr("runs.evaluating.measure", interrupted)
    done = evaluate_here("runs=runs", "split=val", cwd=tmp_path)
    assert done.returncode == 143
    expected = "1 of 3 runs measured and kept; the same command measures the rest\n"
    assert expected in done.stderr and done.stderr.splitlines()[-1].endswith("terminated"), done.stderr
    done = evaluate_here("runs=runs", "split=val", cwd=tmp_path)
    assert done.returncode == 0 and "3 runs, 1 of them measured before" in done.stderr
    assert len(begun) == 4


@pytest.mark.parametrize("change", [{"dice": "0.5"}, {"boundary_iou": [0.5]}, {"pixel_accuracy": ...}])
def test_a_result_that_was_edited_is_measured_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    found = dict.fromkeys(SAME) | {"data": {}, "miou": 0.5, "dice": None, "pixel_accuracy": 1, "boundary_iou": 0.5}
    (tmp_path / "val_counts.npz").touch()
    for content, is_kept in ((found, True), (found | change, False)):
        content = {key: value for key, value in content.items() if value is not ...}
        (tmp_path / "val.json").write_text(json.dumps(content))
        assert (result_of(tmp_path, "val", found) is not None) == is_kept


def test_what_is_measured_is_not_measured_again(tmp_path: Path, runs: Path) -> None:
    shutil.rmtree(runs / "broken")
    assert evaluate_here("runs=[runs/a,runs/b]", "split=val", cwd=tmp_path).returncode == 0
    results = {name: runs / name / "evaluation" / "val.json" for name in ("a", "b", "c")}
    assert [path.exists() for path in results.values()] == [True, True, False]

    def measured_again(*words: str) -> list[str]:
        before = {name: path.stat().st_mtime_ns for name, path in results.items() if path.exists()}
        succeeded(evaluate_here(*words, cwd=tmp_path))
        return [name for name, path in results.items() if path.exists() and before.get(name) != path.stat().st_mtime_ns]

    assert measured_again("runs=runs/[ab]*") == []
    assert measured_again("runs=runs") == ["c"]
    assert measured_again("runs=runs", "data.batch_size=1") == []
    change_weights(runs / "c" / "checkpoints" / "best.pt", 2)
    assert measured_again("runs=runs") == ["c"]
    (runs / "b" / "evaluation" / "val_counts.npz").unlink()
    assert measured_again("runs=runs") == ["b"]
    for kind in ("val", "valannot"):
        shutil.copy(tmp_path / "camvid" / kind / "0.png", tmp_path / "camvid" / kind / "9.png")
    assert measured_again("runs=runs") == ["a", "b", "c"]


def test_the_best_run_of_a_sweep(tmp_path: Path, runs: Path) -> None:
    (runs / "multirun.yaml").touch()
    done = succeeded(evaluate_here("checkpoint=runs", cwd=tmp_path))
    assert "checkpoint=runs: runs/c is the best of its 4 runs by val/miou (0.7000)" in done.stderr
    assert (runs / "c" / "evaluation" / "val.json").exists()


def test_an_ensemble_averages_probabilities(tmp_path: Path, runs: Path) -> None:
    done = succeeded(evaluate_here("checkpoint=[runs/a,runs/b]", cwd=tmp_path))
    (path,) = (runs / "ensemble_evaluation").glob("val_ensemble2-*.json")
    found = json.loads(path.read_text())
    assert found["miou"] == pytest.approx(miou(tmp_path, Mean(runs)), abs=1e-5)
    assert found["checkpoint"] == ["runs/a", "runs/b"] and "mean of 2 networks" in done.stderr


def test_masks_of_an_ensemble(tmp_path: Path, runs: Path) -> None:
    words = ["checkpoint=[runs/a,runs/b]", "input=camvid/val/0.png", "output=mask.png", "format=mask", "device=cpu"]
    succeeded(run_here(infer, "infer", *words, cwd=tmp_path))
    mask, image = (np.asarray(Image.open(tmp_path / path)) for path in ("mask.png", "camvid/val/0.png"))
    assert (mask == Mean(runs).predict(image)).mean() > 0.999


def test_networks_that_do_not_fit_together(tmp_path: Path, runs: Path) -> None:
    path = runs / "b" / "checkpoints" / "best.pt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "image_size": [64, 64]}, path)
    words = "checkpoint=[runs/a,runs/b]"
    assert_refused(evaluate_here(words, cwd=tmp_path), "runs/a takes images of 32x48 and runs/b of 64x64")
    succeeded(evaluate_here(words, "data.image_size=[32,48]", "data.limit=1", cwd=tmp_path))
    infer_words = ["input=camvid/val/0.png", "output=mask.png", "format=mask", "device=cpu", "image_size=[32,48]"]
    assert run_here(infer, "infer", words, *infer_words, cwd=tmp_path).returncode == 0
    labels = LabelSet.from_dict(checkpoint["labels"])
    other = {"labels": LabelSet(labels.names[::-1], labels.colors).to_dict()}
    torch.save({**checkpoint, **other}, path)
    assert_refused(evaluate_here(words, cwd=tmp_path), "runs/b: its classes are not those of runs/a")
    for number, name in enumerate(("a", "b")):
        path = runs / name / "checkpoints" / "best.pt"
        content = torch.load(path, weights_only=True)
        content["labels"] = checkpoint["labels"]
        content["config"]["data"] |= {"folds": 3, "fold": number}
        torch.save(content, path)
    assert_refused(evaluate_here(words, cwd=tmp_path), "split=fold: the networks have different folds", "split=test")
    assert_refused(evaluate_here("checkpoint=[runs/a,runs/a]", cwd=tmp_path), "runs/a occurs twice")
    assert not (runs / "evaluation").exists()


def test_a_reason_that_all_runs_share_is_given_once(tmp_path: Path, runs: Path) -> None:
    shutil.rmtree(runs / "broken")
    done = evaluate_here("runs=runs", "split=nigth", cwd=tmp_path)
    assert done.returncode == 1 and "3 of 3 runs could not be measured:" in done.stderr
    assert done.stderr.count("no split 'nigth'") == 1


def test_a_run_is_named_once() -> None:
    runs = [Run(Path(name), {}) for name in ("a", "b")]
    reasons = {Path("a"): "a: it has no checkpoint yet", Path("b"): "cannot be read"}
    with pytest.raises(PartlyFailed) as failed:
        _report(runs, {}, reasons, known=0)
    assert str(failed.value).splitlines()[1:] == ["a: it has no checkpoint yet", "b: cannot be read"]


def test_a_reason_of_two_sentences_is_one_line(tmp_path: Path, runs: Path) -> None:
    assert not (tmp_path / "camvid" / "test").exists()
    done = evaluate_here("runs=runs/a", "split=test", "data.root=camvid", cwd=tmp_path)
    assert done.returncode == 1
    assert "runs/a: CamVid was not found: there is no folder camvid/test. Get its SegNet version" in done.stderr


def test_mistakes(tmp_path: Path, runs: Path) -> None:
    for words, fragment in (
        ([], "checkpoint is missing"),
        (["runs=runs", "checkpoint=runs/a"], "pass only one"),
        (["runs=nowhere"], "runs=nowhere: there is no such run"),
        (["runs=[runs/a,nowhere]"], "runs=nowhere: there is no such run"),
        (["runs=[]"], "runs=[]"),
    ):
        assert_refused(evaluate_here(*words, cwd=tmp_path), fragment)


def test_runs_of_the_same_name_in_two_folders(tmp_path: Path, runs: Path) -> None:
    shutil.copytree(runs / "b", tmp_path / "other" / "a")
    done = succeeded(evaluate_here(f"runs=[{runs / 'a'},{tmp_path / 'other' / 'a'}]", cwd=tmp_path))
    found = re.findall(r"\| +a +\| +val +\| +([\d.]+) ", done.stderr)
    expected = [miou(tmp_path, Predictor.from_checkpoint(path)) for path in (runs / "a", runs / "b")]
    assert sorted(map(float, found)) == pytest.approx(sorted(expected), abs=1e-4) and expected[0] != expected[1]
