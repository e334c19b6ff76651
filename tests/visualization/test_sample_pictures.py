import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.labels import LabelSet
from visualization.sample_pictures import Predicted, write_samples

LABELS = LabelSet(("sky", "road", "car"), ((0, 0, 255), (128, 64, 128), (255, 0, 0)))


def written(folder: Path, *samples: Predicted, labels: LabelSet = LABELS) -> list[dict]:
    write_samples(samples, labels, folder)
    return json.loads((folder / "index.json").read_text())["samples"]


def sample(truth: list[list[int]], prediction: list[list[int]], name: str = "a.png", number: int = 3) -> Predicted:
    there, said = np.array(truth, np.uint8), np.array(prediction, np.uint8)
    return Predicted(number, name, np.zeros((*there.shape, 3), np.uint8), there, said)


def test_scores_and_colours(tmp_path: Path) -> None:
    """Of six valid pixels two are wrong. IoU: sky 2 of 3, road 1 of 3, car 1 of 2."""
    (entry,) = written(tmp_path, sample([[0, 0, 0, 255], [1, 1, 2, 255]], [[0, 0, 1, 1], [1, 2, 2, 0]]))
    assert (entry["number"], entry["name"]) == (3, "a.png")
    assert entry["wrong"] == pytest.approx(2 / 6)
    assert entry["miou"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)
    truth = np.asarray(Image.open(tmp_path / entry["truth"]).convert("RGB")).tolist()
    assert truth[0] == [[0, 0, 255]] * 3 + [[255, 255, 255]] and truth[1][2] == [255, 0, 0]
    assert Image.open(tmp_path / entry["truth"]).mode == "P"


def test_a_sample_whose_truth_is_unknown_has_no_scores(tmp_path: Path) -> None:
    (entry,) = written(tmp_path, sample([[255, 255]], [[0, 1]]))
    assert entry["wrong"] is None and entry["miou"] is None


def test_pictures_are_small(tmp_path: Path) -> None:
    truth = np.zeros((1024, 2048), np.uint8)
    truth[:, 1024:] = 2
    image = np.full((1024, 2048, 3), 90, np.uint8)
    (entry,) = written(tmp_path, Predicted(0, "a", image, truth, truth))
    for part in ("image", "truth", "prediction"):
        picture = Image.open(tmp_path / entry[part]).convert("RGB")
        assert picture.size == (480, 240)
        if part != "image":
            assert picture.getpixel((239, 0)) == (0, 0, 255) and picture.getpixel((240, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a b/ü<&>.png", "..", "", "x" * 300, "bad\udcff.png", "C:\\a?.png"]
)
def test_names_of_any_characters(tmp_path: Path, name: str) -> None:
    first, second = written(tmp_path / "s", sample([[0]], [[0]], name, 1), sample([[1]], [[1]], name, 2))
    assert first["name"] == name.replace("\udcff", "?")
    files = [entry[part] for entry in (first, second) for part in ("image", "truth", "prediction")]
    assert {path.name for path in (tmp_path / "s").iterdir()} == {*files, "index.json"} and len(set(files)) == 6
    assert all(re.fullmatch(r"[\w.-]{1,90}", file, re.ASCII) for file in files)


def test_the_same_truth_has_the_same_digest(tmp_path: Path) -> None:
    same = [sample([[0, 1]], [[0, 0]], number=1), sample([[0, 1]], [[1, 1]], number=2)]
    first, second, other = written(tmp_path, *same, sample([[0], [1]], [[0], [0]], number=3))
    assert first["digest"] == second["digest"] != other["digest"]


def test_as_many_classes_as_a_mask_can_hold(tmp_path: Path) -> None:
    labels = LabelSet(tuple(f"c{i}" for i in range(255)), tuple((i, 0, 255 - i) for i in range(255)))
    (entry,) = written(tmp_path, sample([[0, 254, 255]], [[0, 0, 0]]), labels=labels)
    picture = np.asarray(Image.open(tmp_path / entry["truth"]).convert("RGB")).tolist()
    assert picture == [[[0, 0, 255], [254, 0, 1], [255, 255, 255]]]
