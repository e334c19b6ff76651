from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from cityscapesscripts.evaluation import (
    evalPixelLevelSemanticLabeling as benchmark,
)
from PIL import Image

from data.cityscapes_labels import CLASSES, LABELS, MISC, train_ids
from data.cityscapes_scores import CATEGORIES, CityscapesScores
from data.labels import IGNORE_INDEX
from utils.errors import SizeMismatch, UnknownId, Unreadable

SIZE = (64, 96)
PERSON, CAR = 3462.4756337644, 12794.0202738185  # average sizes
THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")


class Sample(NamedTuple):
    """`labels` uint8 label ids, `instances` uint16 instance ids and `prediction` uint8 train ids, all (H, W)."""

    labels: np.ndarray
    instances: np.ndarray
    prediction: np.ndarray


def example(seed: int, classes: Literal[19, 20], absent: tuple[str, ...] = ()) -> Sample:
    """Patches of all 34 labels with ragged edges, as instances of any size and groups; two thirds predicted rightly.

    `absent` classes are neither there nor predicted.
    """
    rng = np.random.default_rng(seed)
    grid = rng.permutation(np.concatenate([np.arange(34), rng.integers(34, size=62)])).reshape(8, 12)
    absent_ids = [label.id for label in LABELS if label.name in absent]
    grid[np.isin(grid, absent_ids)] = 7
    things = np.isin(grid, [label.id for label in LABELS if label.has_instances])
    alone = rng.random(grid.shape) < 0.75
    numbered = np.where(things & alone, grid * 1000 + rng.integers(3, size=grid.shape), grid)
    instances = np.kron(numbered, np.ones((8, 8), int)).astype(np.uint16)
    ragged = rng.random(SIZE) < 0.3
    instances[ragged] = np.roll(instances, (3, 5), (0, 1))[ragged]
    labels = np.where(instances < 1000, instances, instances // 1000).astype(np.uint8)
    guesses = rng.choice([i for i in range(classes) if i == MISC or CLASSES[i].name not in absent], SIZE)
    truth = train_ids(classes)[labels]
    right = (rng.random(SIZE) < 2 / 3) & (truth != IGNORE_INDEX)
    return Sample(labels, instances, np.where(right, truth, guesses).astype(np.uint8))


def write_instances(folder: Path, samples: list[Sample]) -> None:
    for i, sample in enumerate(samples):
        Image.fromarray(sample.instances).save(folder / f"{i}_gtFine_instanceIds.png")


def counted(samples: list[Sample], classes: Literal[19, 20]) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrix, and what was predicted on ignored pixels."""
    counts = np.zeros((256, classes), np.int64)
    for sample in samples:
        np.add.at(counts, (train_ids(classes)[sample.labels], sample.prediction), 1)
    return counts[:classes], counts[IGNORE_INDEX]


def found(folder: Path, samples: list[Sample], classes: Literal[19, 20] = 19) -> dict[str, float]:
    """The scores of samples whose instance ids lie in `folder`."""
    scores = CityscapesScores(lambda index: f"{folder}/{index}_gtFine_instanceIds.png")
    for i, sample in enumerate(samples):
        scores.add(i, sample.prediction)
    return scores.results(*counted(samples, classes))


def official(folder: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The scores by the benchmark's own script."""
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # NumPy 2.4 has it no more; cityscapesscripts 2.3 calls it
    label_ids = np.array([*(label.id for label in CLASSES), 0], np.uint8)  # misc is "unlabeled"
    truths, predictions = [], []
    for i, sample in enumerate(samples):
        truths.append(str(folder / f"{i}_gtFine_labelIds.png"))
        predictions.append(str(folder / f"{i}_prediction.png"))
        Image.fromarray(sample.labels).save(truths[-1])
        Image.fromarray(label_ids[sample.prediction]).save(predictions[-1])
    args = copy.copy(benchmark.args)
    args.quiet, args.JSONOutput = True, False
    results: dict[str, Any] = benchmark.evaluateImgLists(predictions, truths, args)
    return {
        "class_iou": results["averageScoreClasses"],
        "category_iou": results["averageScoreCategories"],
        "class_iiou": results["averageScoreInstClasses"],
        "category_iiou": results["averageScoreInstCategories"],
        **{f"iou/category/{name}": results["categoryScores"][name] for name in CATEGORIES},
        **{f"iiou/{name}": results["classInstScores"][name] for name in THINGS},
        **{f"iiou/category/{name}": results["categoryInstScores"][name] for name in ("human", "vehicle")},
    }


@pytest.mark.parametrize("classes", [19, 20])
@pytest.mark.parametrize(
    ("seed", "absent"),
    [
        (0, ()),
        (1, ()),
        (2, ("train", "wall")),
        (3, ("person", "rider", "sky")),
        (4, tuple(label.name for label in LABELS if label.category == "vehicle")),
    ],
)
def test_equals_the_official_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: Literal[19, 20], seed: int, absent: tuple[str, ...]
) -> None:
    samples = [example(10 * seed + i, classes, absent) for i in range(3)]
    write_instances(tmp_path, samples)
    results = found(tmp_path, samples, classes)
    assert results == pytest.approx(official(tmp_path, samples, monkeypatch), rel=1e-12, nan_ok=True)
    assert {name for name in THINGS if math.isnan(results[f"iiou/{name}"])} == set(THINGS) & set(absent)
    assert all(type(value) is float for value in results.values())


@pytest.mark.parametrize("classes", [19, 20])
def test_only_ignored_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: Literal[19, 20]) -> None:
    """Whatever is predicted on them: nothing is defined."""
    labels = np.full(SIZE, 29, np.uint8)  # caravans
    sample = Sample(labels, labels * np.uint16(1000), example(0, classes).prediction)
    write_instances(tmp_path, [sample])
    results = found(tmp_path, [sample], classes)
    assert all(math.isnan(value) for value in results.values())
    assert all(math.isnan(value) for value in official(tmp_path, [sample], monkeypatch).values())


def sample_of(*runs: tuple[int, int, str]) -> Sample:
    """A picture of one row; each run is a count of pixels, their instance id and the class predicted there."""
    names = [label.name for label in CLASSES] + ["misc"]
    instances = np.concatenate([[instance] * count for count, instance, _ in runs])[None]
    prediction = np.concatenate([[names.index(name)] * count for count, _, name in runs])[None]
    labels = np.where(instances < 1000, instances, instances // 1000)
    return Sample(labels.astype(np.uint8), instances.astype(np.uint16), prediction.astype(np.uint8))


def test_hand_worked_scores(tmp_path: Path) -> None:
    sample = sample_of(
        (3, 24001, "person"),  # a person, 3 of 4 pixels found
        (1, 24001, "rider"),
        (1, 24002, "person"),  # one found whole
        (1, 24, "person"),  # a group of persons
        (1, 24, "car"),
        (1, 26000, "truck"),  # a car that was found to be a vehicle in part
        (1, 26000, "road"),
        (1, 7, "person"),
        (2, 7, "road"),
    )
    write_instances(tmp_path, [sample])
    results = found(tmp_path, [sample])
    nothing = {f"iiou/{name}": math.nan for name in ("bus", "train", "motorcycle", "bicycle")}
    nothing |= {f"iou/category/{name}": math.nan for name in ("construction", "object", "nature", "sky")}
    person = (3 / 4 + 1) * PERSON / (2 * PERSON + 1)
    human, vehicle = 2 * PERSON / (2 * PERSON + 1), CAR / 2 / (CAR + 1)
    assert results == pytest.approx(
        {
            "class_iou": (2 / 4 + 5 / 8 + 0 + 0 + 0) / 5,  # road, person; rider, car, truck
            "category_iou": (2 / 4 + 6 / 8 + 1 / 3) / 3,
            "iou/category/flat": 2 / 4,
            "iou/category/human": 6 / 8,
            "iou/category/vehicle": 1 / 3,
            "class_iiou": person / 4,
            "category_iiou": (human + vehicle) / 2,
            "iiou/person": person,
            "iiou/rider": 0,  # predicted only
            "iiou/car": 0,
            "iiou/truck": 0,
            "iiou/category/human": human,
            "iiou/category/vehicle": vehicle,
            **nothing,
        },
        rel=1e-12,
        nan_ok=True,
    )


def test_misc(tmp_path: Path) -> None:
    """Predicted on a class it is a miss; what is predicted where misc is the truth does not count."""
    sample = sample_of((3, 24000, "person"), (1, 24000, "misc"), (2, 7, "misc"), (2, 7, "road"), (5, 0, "person"))
    write_instances(tmp_path, [sample])
    results = found(tmp_path, [sample], 20)
    assert results["class_iou"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert results["category_iou"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert results["iiou/person"] == results["iiou/category/human"] == pytest.approx(3 / 4)


def test_order_changes_nothing(tmp_path: Path) -> None:
    """To the last bit."""
    samples = [example(i, 19) for i in range(6)]
    write_instances(tmp_path, samples)
    results = []
    for order in (range(6), (3, 5, 0, 1, 4, 2)):
        scores = CityscapesScores(lambda index: f"{tmp_path}/{index}_gtFine_instanceIds.png")
        for i in order:
            scores.add(i, samples[i].prediction)
        results.append(scores.results(*counted(samples, 19)))
    assert results[0] == results[1]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_without_instance_ids(tmp_path: Path, missing: int) -> None:
    """One sample without them is enough to leave iIoU out; the rest stays as it is."""
    samples = [example(i, 19) for i in range(3)]
    write_instances(tmp_path, samples)
    whole = found(tmp_path, samples)
    (tmp_path / f"{missing}_gtFine_instanceIds.png").unlink()
    assert found(tmp_path, samples) == {key: value for key, value in whole.items() if "iiou" not in key}


def test_without_samples(tmp_path: Path) -> None:
    results = found(tmp_path, [])
    assert set(results) == {"class_iou", "category_iou", *(f"iou/category/{name}" for name in CATEGORIES)}
    assert all(math.isnan(value) for value in results.values())


def test_wrong_size(tmp_path: Path) -> None:
    sample = example(0, 19)
    write_instances(tmp_path, [sample])
    with pytest.raises(SizeMismatch, match=r"0_gtFine_instanceIds\.png: .* are 96x64, the prediction is 64x96"):
        found(tmp_path, [sample._replace(labels=sample.labels.T, prediction=sample.prediction.T)])


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "colour", "folder"])
def test_unreadable(tmp_path: Path, damage: str) -> None:
    sample = example(0, 19)
    write_instances(tmp_path, [sample])
    path = tmp_path / "0_gtFine_instanceIds.png"
    if damage == "colour":
        Image.new("RGB", SIZE[::-1], (200, 0, 0)).save(path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"24001"}[damage])
    with pytest.raises(Unreadable, match=r"0_gtFine_instanceIds\.png"):
        found(tmp_path, [sample])


@pytest.mark.parametrize("instance", [7001, 34000, 65535])
def test_instances_of_labels_without(tmp_path: Path, instance: int) -> None:
    sample = example(0, 19)
    sample.instances[0, 0] = instance
    write_instances(tmp_path, [sample])
    with pytest.raises(UnknownId, match=rf"0_gtFine_instanceIds\.png: .* {instance} "):
        found(tmp_path, [sample])
