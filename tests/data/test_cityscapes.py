from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from PIL import Image

from data.cityscapes import Cityscapes
from data.cityscapes_labels import LABELS, label_set, train_ids
from tests.data.layouts import make_cityscapes
from utils.errors import UserError


def test_the_labels_are_the_official_ones() -> None:
    ours = {(x.name, x.id, x.category, x.has_instances, x.ignore_in_eval, x.color) for x in LABELS}
    assert ours == {(x.name, x.id, x.category, x.hasInstances, x.ignoreInEval, x.color) for x in official if x.id >= 0}
    assert len(LABELS) == 34


def test_train_ids_are_the_official_ones() -> None:
    table, with_misc = train_ids(19), train_ids(20)
    for label in official:
        if label.id >= 0:
            assert table[label.id] == (255 if label.ignoreInEval else label.trainId)
            assert with_misc[label.id] == (19 if label.ignoreInEval else label.trainId)
    evaluated = [label for label in official if not label.ignoreInEval and label.id >= 0]
    assert list(label_set(19).names) == [label.name for label in sorted(evaluated, key=lambda label: label.trainId)]
    assert label_set(20).names[19] == "misc"
    assert (with_misc[:34] == 19).sum() == 15


@pytest.mark.parametrize("classes", [19, 20])
def test_ids_become_train_ids(tmp_path: Path, classes: int) -> None:
    make_cityscapes(tmp_path)
    dataset = Cityscapes(str(tmp_path), "train", classes=classes)  # type: ignore[arg-type]
    assert len(dataset) == 4
    assert [dataset.name(i).split("/")[2] for i in range(4)] == ["aachen", "aachen", "ulm", "ulm"]
    rest = 255 if classes == 19 else 19
    by_id = {x.id: rest if x.ignoreInEval else x.trainId for x in official}
    for i in range(4):
        image, mask, name = dataset[i]
        raw = np.asarray(Image.open(str(tmp_path / name).replace("leftImg8bit", "gtFine", 1)
                                    .replace("leftImg8bit", "gtFine_labelIds")))  # fmt: skip
        assert set(np.unique(raw)) == set(range(34))
        assert mask.tolist() == [[by_id[v] for v in row] for row in raw.tolist()]
        assert image.shape == (*mask.shape, 3)
        assert Path(dataset.instances(i)).is_file()
    assert dataset.scores() is not None


def test_coarse_annotations(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)
    assert len(Cityscapes(str(tmp_path), "train_extra", coarse=True)) == 2
    with pytest.raises(UserError, match=r"rough masks only; pass data\.coarse=true"):
        Cityscapes(str(tmp_path), "train_extra")
    with pytest.raises(UserError, match=r"Register at .*gtCoarse\.zip"):
        Cityscapes(str(tmp_path), "val", coarse=True)


def test_it_says_how_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        Cityscapes(str(tmp_path), "val", download=True)
    words = str(error.value)
    assert "needs an account" in words and "https://www.cityscapes-dataset.com" in words
    assert "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in words and str(tmp_path) in words


def test_a_photo_without_a_mask_is_a_fault(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)
    (tmp_path / "gtFine/val/lindau/lindau_000001_000019_gtFine_labelIds.png").unlink()
    dataset = Cityscapes(str(tmp_path), "val")
    assert len(dataset) == 1
    assert ["no mask" in str(fault) and "lindau_000001" in str(fault) for fault in dataset.faults] == [True]
