import numpy as np
import pytest
import torch

from data.labels import LabelSet
from evaluation.results import table_of_classes
from utils.tables import duration, epoch_table, number
from visualization.overlay import class_shares, overlay

LABELS = LabelSet(("sky", "road", "car"), ((0, 0, 255), (128, 64, 128), (255, 0, 0)))


def test_class_shares() -> None:
    mask = np.array([[0, 0, 0, 2], [0, 0, 2, 255]], np.uint8)
    assert class_shares(mask, LABELS) == [("sky", (0, 0, 255), 5 / 8), ("car", (255, 0, 0), 2 / 8)]


def test_overlay_tints_the_photo_and_adds_a_legend() -> None:
    image = np.full((60, 200, 3), 100, np.uint8)
    mask = np.zeros((60, 200), np.uint8)
    mask[:, 100:] = 2
    picture = np.asarray(overlay(image, mask, LABELS, opacity=0.5))
    assert picture.shape[1] == 200 and picture.shape[0] > 60
    assert picture[30, 10].tolist() == [50, 50, 178]
    assert picture[30, 150].tolist() == [178, 50, 50]
    assert picture[30, 99].max() < 100  # the contour between the two is dark
    legend = picture[60:].reshape(-1, 3)
    assert (legend == (0, 0, 255)).all(1).any() and (legend == (255, 0, 0)).all(1).any()
    assert not (legend == (128, 64, 128)).all(1).any()  # there is no road


@pytest.mark.parametrize("size", [(32, 32), (40, 33), (33, 2000)])
def test_overlay_of_any_size(size: tuple[int, int]) -> None:
    picture = overlay(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), LABELS)
    assert picture.width >= size[1]


def test_tables() -> None:
    row = {"train/loss": 0.5, "train/soft_iou": 0.25, "val/loss": 0.75, "val/soft_iou": 0.125}
    row |= {"val/miou": 0.6, "val/dice": 0.7, "val/pixel_accuracy": 0.8}
    lines = epoch_table(row, "epoch 1/2").splitlines()
    assert "epoch 1/2" in lines[0]
    assert lines[1].split("|")[1:-1] == [
        "       ",
        "   loss ",
        " soft_iou ",
        "   mIoU ",
        "   Dice ",
        " pixel accuracy ",
    ]
    assert [cell.strip() for cell in lines[4].split("|")[1:-1]] == [
        "val",
        "0.7500",
        "0.1250",
        "0.6000",
        "0.7000",
        "0.8000",
    ]
    text = table_of_classes(["a", "b", "c"], torch.tensor([[9, 0, 0], [1, 0, 0], [0, 0, 0]]), "classes")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[-4:-1]]
    assert cells[0] == ["b", "10.00%", "0.0000", "0.0000", "0.0000"]
    assert cells[1] == ["c", "0.00%", "-", "-", "-"]
    assert cells[2] == ["mean", "", "0.4500", "0.4737", "0.5000"]


def test_numbers() -> None:
    assert number(float("nan")) == "-"
    assert number(0.12345) == "0.1235"
    assert [duration(s) for s in (3.2, 61, 3600 * 2 + 301)] == ["3 s", "1 min 1 s", "2 h 5 min"]
