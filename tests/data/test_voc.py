from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.labels import voc_colors
from data.voc import BORDER, VOC
from tests.data.layouts import make_voc
from utils.errors import UserError


def test_the_index_of_the_palette_is_the_id(tmp_path: Path) -> None:
    make_voc(tmp_path)
    dataset = VOC(str(tmp_path), "train")
    assert len(dataset) == 4
    for i in range(4):
        stored = Image.open(tmp_path / f"VOCdevkit/VOC2012/SegmentationClass/2007_{i:06}.png")
        assert stored.mode == "P"
        image, mask, name = dataset[i]
        assert name == dataset.name(i) == f"JPEGImages/2007_{i:06}.jpg"
        np.testing.assert_array_equal(mask, np.asarray(stored))
        assert set(np.unique(mask)) == {*range(21), 255}
        assert image.shape == (*mask.shape, 3)
        assert dataset.size(i) == mask.shape


def test_splits(tmp_path: Path) -> None:
    make_voc(tmp_path)
    assert len(VOC(str(tmp_path), "val")) == 2
    larger = VOC(str(tmp_path), "train_aug")
    assert len(larger) == 6
    assert "SegmentationClassAug" in larger.files(0)[1]
    with pytest.raises(UserError, match="no split 'training'"):
        VOC(str(tmp_path), "training")
    with pytest.raises(UserError, match=r"not found.*trainval\.txt\n.*data\.root=.*data\.download=true"):
        VOC(str(tmp_path), "trainval")


def test_masks_in_colours_are_decoded(tmp_path: Path) -> None:
    """As they come out of tools that turn the palette into colours."""
    make_voc(tmp_path)
    path = tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_000001.png"
    ids = np.asarray(Image.open(path))
    colors = np.array([*voc_colors(21), *[(0, 0, 0)] * 234, BORDER], np.uint8)
    Image.fromarray(colors[ids]).save(path)
    np.testing.assert_array_equal(VOC(str(tmp_path), "train")[1].mask, ids)


def test_the_colour_map_is_the_published_one() -> None:
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 12: (64, 0, 128),
                 15: (192, 128, 128), 20: (0, 64, 128), 255: BORDER}  # fmt: skip
    colors = voc_colors(256)
    assert {i: colors[i] for i in published} == published


@pytest.mark.parametrize(
    "line",
    [
        "/JPEGImages/{}.jpg /SegmentationClassAug/{}.png",
        "JPEGImages/{}.jpg SegmentationClassAug/{}.png",
        "JPEGImages\\{}.jpg SegmentationClassAug\\{}.png",
        "{}.jpg",
        "{}  1",
    ],
)
def test_lists_of_other_programs(tmp_path: Path, line: str) -> None:
    make_voc(tmp_path)
    names = ["2007_000002", "2007_000000", "2007_000002"]
    path = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt"
    path.write_text("\n".join(line.format(name, name) for name in names))
    found = VOC(str(tmp_path), "train_aug")
    assert [found.name(i) for i in range(len(found))] == [f"JPEGImages/{name}.jpg" for name in names[:2]]
    assert found.files(0)[1].endswith("/SegmentationClassAug/2007_000002.png") and not found.faults


def test_a_list_may_have_comments_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    make_voc(tmp_path)
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train.txt").write_bytes("\ufeff# of 2012\r\n2007_000002\r\n\r\n  2007_000000 \r\n\n".encode())
    dataset = VOC(str(tmp_path), "train")
    assert [dataset.name(i) for i in range(len(dataset))] == [
        "JPEGImages/2007_000002.jpg",
        "JPEGImages/2007_000000.jpg",
    ]


def test_what_a_list_names_in_vain_is_a_fault(tmp_path: Path) -> None:
    make_voc(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg").unlink()
    dataset = VOC(str(tmp_path), "train")
    assert len(dataset) == 3
    (fault,) = dataset.faults
    assert fault.kind == "missing pair"
    assert "2007_000002.jpg: there is no such file, but" in str(fault) and "train.txt lists 2007_000002" in str(fault)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("\n \n")
    with pytest.raises(UserError, match=r"val\.txt: the list of the split is empty"):
        VOC(str(tmp_path), "val")
