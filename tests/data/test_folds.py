import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from data import cache_files
from data.camvid import CamVid
from data.folds import by_group, fold_of, groups_of, stratified
from data.labels import LabelSet
from data.samples import Sample, SegmentationDataset, View
from data.statistics import class_counts
from data.voc import VOC
from evaluate import evaluate
from tests.conftest import TINY, runs_in
from tests.data.layouts import blocks, make_folder, make_voc, photo, write
from tests.in_process import assert_refused, run_here, succeeded
from train_segmentation import train
from utils.errors import UserError

REAL = Path(os.environ.get("CAMVID_ROOT", Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"))


class Named(SegmentationDataset):
    """Masks with the classes in `present`, under given names."""

    labels = LabelSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))

    def __init__(self, names: list[str], present: np.ndarray | None = None) -> None:
        self.names = names
        self.present = np.ones((len(names), 3), bool) if present is None else present

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        mask = np.full((1, 4), 255, np.uint8)
        classes = np.flatnonzero(self.present[index])
        mask[0, : len(classes)] = classes
        return Sample(np.zeros((1, 4, 3), np.uint8), mask, self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))


def names_in(view: View) -> set[str]:
    return {view.name(i) for i in range(len(view))}


def test_each_sample_validates_once() -> None:
    rng = np.random.default_rng(0)
    dataset = Named([f"{i}.png" for i in range(23)], rng.random((23, 3)) < 0.4)
    held_out = [names_in(fold_of(dataset, "fold", 5, fold)) for fold in range(5)]
    assert sorted(name for names in held_out for name in names) == sorted(dataset.names)
    for fold, names in enumerate(held_out):
        assert names_in(fold_of(dataset, "other_folds", 5, fold)) == set(dataset.names) - names
    again = [names_in(fold_of(dataset, "fold", 5, fold)) for fold in range(5)]
    other = [names_in(fold_of(dataset, "fold", 5, fold, seed=1)) for fold in range(5)]
    assert held_out == again != other


def test_a_rare_class_is_in_every_fold() -> None:
    """Class 2 is in 4 of 40 samples, class 1 in 8: one and two of them for each of 4 folds, of 10 samples each."""
    present = np.zeros((40, 3), bool)
    present[:, 0] = True
    present[[3, 4, 5, 6], 2] = True
    present[[3, 4, 10, 11, 12, 13, 14, 15], 1] = True
    for seed in range(5):
        fold = stratified(present, 4, seed)
        assert np.bincount(fold).tolist() == [10, 10, 10, 10]
        assert [np.bincount(fold[present[:, c]], minlength=4).tolist() for c in (1, 2)] == [[2] * 4, [1] * 4]


def test_samples_without_labels_are_dealt_out_too() -> None:
    assert sorted(np.bincount(stratified(np.zeros((7, 2), bool), 3, 0))) == [2, 2, 3]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no CamVid at {REAL}; set CAMVID_ROOT")
def test_the_real_camvid_is_stratified() -> None:
    dataset = CamVid(str(REAL), "dev")
    present = np.array([np.bincount(dataset[i].mask.ravel(), minlength=256)[:11] > 0 for i in range(101)])
    fold = stratified(class_counts(dataset) > 0, 5, 0)

    def unevenness(fold: np.ndarray) -> float:
        found = np.array([present[fold == k].sum(0) for k in range(5)])
        return float(np.square(found - present.sum(0) / 5).sum())

    rng = np.random.default_rng(0)
    assert unevenness(fold) < 0.5 * min(unevenness(rng.permutation(101) % 5) for _ in range(20))
    assert np.abs(np.bincount(fold) - 101 / 5).max() < 2


def test_groups_stay_together_as_in_scikit_learn() -> None:
    groups = ["a"] * 7 + ["b"] * 5 + ["c"] * 4 + ["d"] * 2 + ["e"]
    np.random.default_rng(0).shuffle(groups)
    ours = by_group(groups, 3)
    theirs = np.zeros(len(groups), int)
    for fold, (_, validating) in enumerate(GroupKFold(3).split(groups, groups=groups)):
        theirs[validating] = fold

    def parts(folds: np.ndarray) -> set[frozenset[int]]:
        return {frozenset(np.flatnonzero(folds == fold)) for fold in range(3)}

    assert parts(ours) == parts(theirs)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("^[^_]+", ["0001TP", "0001TP", "b"]),
        ("^[a-z]+/", ["train/", "val/", "val/"]),
        (r"_(\d)", ["1", "2", "3"]),
    ],
)
def test_groups_are_found_in_names(pattern: str, groups: list[str]) -> None:
    dataset = Named(["train/0001TP_1.png", "val/0001TP_2.png", "val/b_3.png"])
    assert groups_of(dataset, pattern) == groups


def test_divisions_that_are_not_possible() -> None:
    dataset = Named(["a_1.png", "a_2.png", "b_3.png"])
    with pytest.raises(UserError, match=r"group_by=.*: 2 groups \(a, b\) cannot fill 3 folds; pass data.folds=2"):
        fold_of(dataset, "fold", 3, 0, "^[^_]+")
    with pytest.raises(UserError, match=r"1 group \(_\) cannot fill 3 folds; pass another pattern"):
        fold_of(dataset, "fold", 3, 0, "_")
    with pytest.raises(UserError, match=r"group_by=x: finds nothing in the name a_1.png"):
        fold_of(dataset, "fold", 3, 0, "x")
    with pytest.raises(UserError, match=r"folds=4: the split has only 3 samples"):
        fold_of(dataset, "fold", 4, 0)


def test_classes_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = VOC(str(make_voc(tmp_path / "voc")), "train")
    known = np.array([np.bincount(dataset[i].mask.ravel(), minlength=256)[:21] for i in range(4)])
    np.testing.assert_array_equal(class_counts(dataset), known)
    monkeypatch.setattr(VOC, "mask", lambda *_: pytest.fail("read again"))
    np.testing.assert_array_equal(class_counts(VOC(str(tmp_path / "voc"), "train")), known)
    monkeypatch.undo()
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    (kept,) = (tmp_path / ".cache").glob("classes-*.npz")
    kept.write_bytes(kept.read_bytes()[:50])  # damaged
    np.testing.assert_array_equal(class_counts(dataset), known)
    np.testing.assert_array_equal(class_counts(View(dataset, [2, 0])), known[[2, 0]])
    kept.unlink()
    monkeypatch.setattr(
        cache_files, "cache_home", lambda: tmp_path / "voc" / "VOCdevkit" / "VOC2012" / "nowhere.txt" / "x"
    )
    (tmp_path / "voc" / "VOCdevkit" / "VOC2012" / "nowhere.txt").touch()
    np.testing.assert_array_equal(class_counts(dataset), known)  # counted, though not kept


def test_groups_of_the_real_layout_do_not_mix() -> None:
    names = [f"train/{town}_{i}.png" for town, count in (("ulm", 5), ("jena", 3), ("bonn", 2)) for i in range(count)]
    view = fold_of(Named(names), "fold", 2, 0, "^[^_]+")
    assert Counter(name.split("/")[1].split("_")[0] for name in names_in(view)) == {"ulm": 5}


WORDS = ("data=folder", "trainer.epochs=1", *(word for word in TINY if "limit" not in word))


def folder_of_towns(root: Path) -> Path:
    """Three photos of ulm, two of jena and one of bonn."""
    for i, name in enumerate(["ulm_1", "ulm_2", "ulm_3", "jena_1", "jena_2", "bonn_1"]):
        write(root / "images" / f"{name}.jpg", photo(i))
        write(root / "masks" / f"{name}.png", blocks(i, [0, 1, 7, 255]))
    shutil.copy(make_folder(root.parent / "other", 1) / "labels.json", root)
    return root


def test_a_run_validates_on_its_fold(tmp_path: Path) -> None:
    root = folder_of_towns(tmp_path / "towns")
    words = (*WORDS, f"data.root={root}", "data.train_split=all", "data.folds=2", "data.group_by='^[^_]+'")
    done = succeeded(run_here(train, "train", *words, "data.fold=1", cwd=tmp_path, reports=True))
    (run,) = runs_in(tmp_path)
    done = succeeded(run_here(evaluate, "evaluate", f"checkpoint={run}", "device=cpu", cwd=tmp_path))
    (scores,) = (run / "evaluation").glob("fold*.csv")
    assert sorted(re.findall(r"[a-z]+_\d", scores.read_text())) == ["bonn_1", "jena_1", "jena_2"]
    words = ("data=folder", f"data.root={root}", "split=all")
    done = succeeded(run_here(evaluate, "evaluate", f"checkpoint={run}", *words, "device=cpu", cwd=tmp_path))
    assert (run / "evaluation" / "all.json").exists()  # all of the run's own photos
    elsewhere = folder_of_towns(tmp_path / "elsewhere" / "towns")
    done = run_here(evaluate, "evaluate", f"checkpoint={run}", f"data.root={elsewhere}", "device=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (scores,) = (run / "evaluation").glob("all_root-*_samples.csv")  # other photos are in no fold of the run
    assert len(re.findall(r"[a-z]+_\d", scores.read_text())) == 6
    assert not re.search("fold|group_by", scores.name)


IMPOSSIBLE = [
    ("data.folds=4 data.group_by='^[^_]+'", ["3 groups (bonn, jena, ulm)", "pass data.folds=3"]),
    ("data.folds=2 data.fold=2", ["data.fold=2", "data.folds=2 has folds 0 to 1"]),
    ("data.folds=50", ["data.folds=50", "only 6 samples"]),
    ("data.folds=2 data.group_by='['", ["data.group_by=[", "not a regular expression"]),
    ("data.fold=1", ["data.fold=1", "needs data.folds"]),
    ("data.fold_seed=3", ["data.fold_seed=3", "needs data.folds"]),
    ("data.sampling_temperature=0.1", ["data.sampling_temperature=0.1", "needs data.sampling=rare_class"]),
]


@pytest.mark.parametrize(("words", "fragments"), IMPOSSIBLE)
def test_impossible_folds_are_refused(tmp_path: Path, words: str, fragments: list[str]) -> None:
    root = folder_of_towns(tmp_path / "towns")
    words_of_run = (*WORDS, f"data.root={root}", "data.train_split=all", *words.split())
    assert_refused(run_here(train, "train", *words_of_run, cwd=tmp_path), *fragments)
    assert runs_in(tmp_path) == []


def test_a_run_whose_files_have_changed_is_not_resumed(tmp_path: Path) -> None:
    """With another file the folds are others."""
    root = folder_of_towns(tmp_path / "towns")
    words = (*WORDS, f"data.root={root}", "data.train_split=all", "data.folds=2")
    done = succeeded(run_here(train, "train", *words, cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        (root / folder / f"ulm_1.{suffix}").rename(root / folder / f"bonn_9.{suffix}")
    done = run_here(train, "train", f"resume={run}", "trainer.epochs=2", cwd=tmp_path)
    assert_refused(done, "split has other samples than when the run began", "the run needs the data that it began with")


def test_validation_samples_that_are_trained_on_are_reported(tmp_path: Path) -> None:
    root = folder_of_towns(tmp_path / "towns")
    words = (*WORDS, f"data.root={root}", "data.train_split=all", "data.val_split=val")
    done = succeeded(run_here(train, "train", *words, cwd=tmp_path))
    assert "(data.val_split=val), whose scores say nothing" in done.stderr


def test_a_mask_that_was_damaged_since_is_named(tmp_path: Path) -> None:
    """The classes are counted again, in all masks."""
    root = folder_of_towns(tmp_path / "towns")
    words = (*WORDS, f"data.root={root}", "data.train_split=all", "data.folds=2")
    done = succeeded(run_here(train, "train", *words, cwd=tmp_path))
    (run,) = runs_in(tmp_path)
    (root / "masks" / "ulm_1.png").write_bytes(b"no picture")
    done = run_here(evaluate, "evaluate", f"checkpoint={run}", f"data.root={root}", "device=cpu", cwd=tmp_path)
    assert_refused(done, "ulm_1.png: the mask cannot be read")
