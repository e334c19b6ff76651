"""Columns of any metric or key, and conditions on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from comparison.columns import checked_columns, higher_is_better, selected, value_of
from comparison.data_sets import data_sets_of
from comparison.evaluations import counts_of, evaluated, evaluations
from comparison.groups import groups_of
from comparison.rendering import rendered
from comparison.report_data import gathered
from comparison.rows import differing_keys, rows_of, sorted_by
from comparison.runs import Run
from comparison.tables import tables_of
from tests.comparison.folders import add_evaluation, change_summary, make_run, runs_in
from utils.errors import UserError

UNIONS = np.full((4, 3), 10)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two runs that were tested, and one that was not."""
    for number, name in enumerate(("a", "b", "c")):
        run = make_run(tmp_path / name, 0.5 + number / 10, optimizer__lr=0.01 * (number + 1))
        if name != "c":
            add_evaluation(run, "test", np.full((4, 3), 4 - number), UNIONS)
    return runs_in(tmp_path)


def test_any_metric_or_key_is_a_column(runs: list[Run]) -> None:
    wanted = ["test/miou", "test/iou/road", "test/boundary_iou", "val/iou/sky", "optimizer.lr", "val/miou", "loss"]
    rows = rows_of(runs, [], checked_columns(runs, wanted, "columns"))
    assert [list(row)[1:] for row in rows] == [[*wanted[:5], "mIoU", "loss"]] * 3
    assert [row["test/miou"] for row in rows] == [pytest.approx(0.4), pytest.approx(0.3), None]
    assert rows[0]["test/iou/road"] == pytest.approx(0.4) and rows[1]["test/boundary_iou"] == 0.25
    assert (rows[2]["val/iou/sky"], rows[2]["optimizer.lr"], rows[2]["loss"]) == (0.9, pytest.approx(0.03), "ce_iou")
    assert " 0.4000 |" in rendered(rows, "table") and " - |" in rendered(rows, "table")
    assert [row["name"] for row in sorted_by(rows, "test/miou")] == ["a", "b", "c"]
    assert [row["name"] for row in sorted_by(rows, "val/miou")] == ["c", "b", "a"]
    for column, message in (
        ("optimizer.l", "columns=optimizer.l: no run has this metric or key; did you mean 'optimizer.lr'"),
        ("night/miou", "measure it first: python evaluate.py runs=<folder> split=night"),
    ):
        with pytest.raises(UserError, match=message):
            checked_columns(runs, [column], "columns")


def test_the_recipe_is_a_column(tmp_path: Path) -> None:
    recipes = {"a": "camvid_enet", "b": "camvid_fast_scnn", "c": None}
    for name, recipe in recipes.items():
        make_run(tmp_path / name, options={"model": "enet", "experiment": recipe})
    runs = runs_in(tmp_path)
    rows = rows_of(runs, [], checked_columns(runs, ["experiment"], "columns"))
    assert [row["experiment"] for row in rows] == ["camvid_enet", "camvid_fast_scnn", ""]
    assert [run.name for run in selected(runs, "experiment=camvid_fast_scnn")] == ["b"]
    assert [run.name for run in selected(runs[2:], "experiment!=camvid_enet")] == ["c"]


def test_splits_that_were_evaluated_are_columns(runs: list[Run]) -> None:
    assert evaluations(runs[0]) == ["test"] and evaluations(runs[2]) == []
    assert "test/miou" in rows_of(runs, [])[0] and "test/miou" not in rows_of(runs[2:], [])[0]


def test_an_evaluation_of_an_earlier_epoch_does_not_count(runs: list[Run]) -> None:
    add_evaluation(runs[0].path, "test", np.full((4, 3), 4), UNIONS, epoch=1)
    assert evaluated(runs[0], "test/miou") is None and counts_of(runs[0], "test") is None
    assert counts_of(runs[1], "test") is not None


def test_an_evaluation_of_the_last_checkpoint_counts_until_the_run_goes_on(runs: list[Run]) -> None:
    """At every epoch but an earlier one than the last; the best epoch does not matter."""
    add_evaluation(runs[0].path, "test_last", np.full((4, 3), 4), UNIONS, epoch=5)
    path = runs[0].path / "evaluation" / "test_last.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint": "runs/0/checkpoints/last.pt"}))
    for last_epoch, counts in ((5, True), (6, False)):
        change_summary(runs[0].path, last={"epoch": last_epoch})
        (run,) = (found for found in runs_in(runs[0].path.parent) if found.path == runs[0].path)
        assert (evaluated(run, "test_last/miou") is not None) == counts
        assert (counts_of(run, "test_last") is not None) == counts
    # A split may have such a name, too: its evaluation is that of best.pt, as its file says.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint": "runs/0", "epoch": 2}))
    assert evaluated(run, "test_last/miou") is not None


def test_damaged_evaluations(runs: list[Run]) -> None:
    folder = runs[0].path / "evaluation"
    (folder / "test_counts.npz").write_bytes((folder / "test_counts.npz").read_bytes()[:100])
    assert counts_of(runs[0], "test") is None and evaluated(runs[0], "test/miou") == pytest.approx(0.4)
    for content in ("{", "[]", json.dumps({"miou": "high"}), json.dumps({"miou": 1, "classes": [1]})):
        (folder / "test.json").write_text(content)
        assert evaluated(runs[0], "test/iou/road") is None


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (None, "abc"),
        ("optimizer.lr=0.02", "b"),
        ("optimizer.lr=2e-2", "b"),
        ("optimizer.lr==0.02", "b"),
        ("optimizer.lr!=0.02", "ac"),
        (["optimizer.lr>=0.02", "val/miou<0.65"], "b"),
        ("data=Synthetic", "abc"),
        ("test/miou>0.35", "a"),
        ("data.image_size=[96, 128]", "abc"),
    ],
)
def test_conditions(runs: list[Run], where: str | list[str] | None, names: str) -> None:
    assert "".join(run.name for run in selected(runs, where)) == names


def test_conditions_that_are_wrong(runs: list[Run]) -> None:
    for where, message in (
        ("data", "where=data: must be <key>=<value>"),
        ("optimizer.l=1", "where=optimizer.l: no run has this metric or key; did you mean 'optimizer.lr'"),
        ("data=camvid", "where=data=camvid: no run meets this; data is Synthetic"),
    ):
        with pytest.raises(UserError, match=message):
            selected(runs, where)


def test_which_value_is_the_best() -> None:
    higher = ["mIoU", "val/miou", "test/iou/road", "test/boundary_iou", "images/s", "pooled mIoU", "test/dice/a loss"]
    lower = ["val/loss", "test/calibration_error", "parameters", "seconds", "optimizer.lr", "val/cross_entropy"]
    assert all(higher_is_better(column) for column in higher) and not any(higher_is_better(c) for c in lower)


def test_data_sets_have_tables_of_their_own(tmp_path: Path) -> None:
    folder = {"_target_": "data.folder.Folder", "image_size": [96, 128]}
    make_run(tmp_path / "a", 0.9)
    make_run(tmp_path / "b", 0.4, data={**folder, "root": "x"})
    make_run(tmp_path / "c", 0.6, data={**folder, "root": "x"})
    make_run(tmp_path / "d", 0.5, data={**folder, "root": "y"})
    runs = runs_in(tmp_path)
    parts = tables_of(runs, "table", sort="val/miou").split("\n\n")
    assert [part.splitlines()[0].strip("+-") for part in parts] == [
        "Synthetic: 1 run",
        "Folder x: 2 runs",
        "Folder y: 1 run",
    ]
    assert parts[1].index("| c ") < parts[1].index("| b ")
    rows = json.loads(tables_of(runs, "json", sort="val/miou"))
    assert [row["name"] for row in rows] == ["a", "c", "b", "d"]


def test_own_annotations_of_coco_are_data_sets_of_their_own(tmp_path: Path) -> None:
    """COCO itself is one wherever it lies; runs without a metric do not show that they are of other categories."""
    places = {"a": ("x", 81), "b": ("y", 81), "c": ("birds", 3), "d": ("cells", 2), "e": ("cells", 2), "f": ("y", 0)}
    for name, (root, classes) in places.items():
        data = {"_target_": "data.coco.COCO", "image_size": [96, 128], "root": root, "classes": 81}
        run = make_run(tmp_path / name, 0.5, data=data)
        ious = {f"val/iou/{root if classes < 81 else 'coco'} {i}": 0.5 for i in range(classes)}
        change_summary(run, best={"epoch": 2, "val/miou": 0.5, **ious})
    names = data_sets_of(runs_in(tmp_path))
    assert names == ["COCO, 81 classes"] * 2 + ["COCO birds", "COCO cells", "COCO cells", "COCO, 81 classes"]


def test_other_classes_for_the_same_photos_are_another_data_set(tmp_path: Path) -> None:
    for name, classes in (("a", "sky road"), ("b", "sky road car"), ("c", "sky road"), ("d", ""), ("e", "sky car")):
        data = {"_target_": "data.folder.Folder", "image_size": [96, 128], "root": "x"}
        run = make_run(tmp_path / name, 0.5, data=data)
        ious = {f"val/iou/{label}": None for label in classes.split()}
        change_summary(run, best={"epoch": 2, "val/miou": 0.5, **ious})
    assert data_sets_of(runs_in(tmp_path)) == [
        "Folder x",
        "Folder x, 3 classes (sky, road, car)",
        "Folder x",
        "Folder x",
        "Folder x, 2 classes (sky, car)",
    ]


def test_data_sets_that_differ_in_classes_that_are_not_shown(tmp_path: Path) -> None:
    for name, last in (("a", "car"), ("b", "bus"), ("c", "van"), ("d", "bus")):
        data = {"_target_": "data.folder.Folder", "image_size": [96, 128], "root": "x"}
        run = make_run(tmp_path / name, 0.5, data=data)
        change_summary(run, best={f"val/iou/{label}": None for label in ("sky", "road", "tree", last)})
    first, *others = data_sets_of(runs_in(tmp_path))
    assert first == "Folder x" and others == [
        "Folder x, 4 classes (sky, road, tree and 1 more)",
        "Folder x, 4 classes (sky, road, tree and 1 more), no. 3",
        "Folder x, 4 classes (sky, road, tree and 1 more)",
    ]


def test_a_folder_that_was_moved_is_the_same_data_set(tmp_path: Path) -> None:
    """By the samples: those of c are others, although its folder is called as that of b; d has none on record."""
    places = {
        "a": ("x", "1", "1"),
        "b": ("y", "1", "1"),
        "c": ("y", "2", "2"),
        "d": ("y", "", ""),
        "e": ("z", "3", "1"),
    }
    for seed, (name, (root, train, validation)) in enumerate(places.items()):
        data = {"_target_": "data.folder.Folder", "image_size": [96, 128], "root": root}
        run = make_run(tmp_path / name, 0.5, data=data, seed=seed)
        if train:
            change_summary(run, samples={"train": {"sha256": train}, "validation": {"sha256": validation}})
    runs = runs_in(tmp_path)
    assert data_sets_of(runs) == ["Folder x", "Folder x", "Folder y", "Folder y", "Folder x"]
    entries = gathered(runs, [], "")[0]["runs"]
    assert {entry["run"]: entry["data_set"] for entry in entries} == dict(zip("abcde", data_sets_of(runs), strict=True))
    together = [runs[0], runs[1], runs[4]]  # e was trained on other samples
    groups = groups_of(together, differing_keys(together), ["seed"])
    assert [[run.name for run in group.runs] for group in groups] == [["a", "b"], ["e"]]


def test_values(runs: list[Run]) -> None:
    assert value_of(runs[0], "Dice") == value_of(runs[0], "val/dice") == 0.6
    assert value_of(runs[0], "nothing") is None and value_of(runs[0], "seconds") == 75.2
