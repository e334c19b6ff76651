from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

import data.download
from config.nodes import build_dataset
from data import voc_download
from data.labels import voc_colors
from data.voc import VOC
from tests.conftest import ROOT
from tests.data.archive_server import Server, files_below, interrupted, md5, packed
from tests.data.layouts import blocks, make_voc
from utils.errors import UserError

VOC_FILE, SBD_FILE = "VOCtrainval_11-May-2012.tar", "benchmark.tgz"
SBD_LISTS = {"train": (0, 4, 6), "val": (1, 7)}
"""Of the images of `make_voc`: 0 to 3 are in VOC's train, 4 and 5 in its val, 6 and 7 have masks in SBD only."""
TRAIN_AUG = [f"2007_{i:06}" for i in (0, 1, 2, 3, 6, 7)]
COLOR_MAP = np.array(voc_colors(256), np.uint8).ravel().tolist()
LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt"


def theirs(number: int) -> np.ndarray:
    """SBD's mask of an image, which is not VOC's."""
    return blocks(100 + number, list(range(21)))


def make_sbd(root: Path) -> None:
    folder = root / "benchmark_RELEASE" / "dataset"
    (folder / "cls").mkdir(parents=True)
    for split, numbers in SBD_LISTS.items():
        (folder / f"{split}.txt").write_text("".join(f"2007_{i:06}\n" for i in numbers))
        for i in numbers:
            present = np.arange(1, 21, dtype=np.uint8)[:, None]
            borders = np.empty((20, 1), object)
            for row in borders:
                row[0] = csc_matrix(theirs(i) == 1)
            content = {"Boundaries": borders, "Segmentation": theirs(i), "CategoriesPresent": present}
            savemat(folder / "cls" / f"2007_{i:06}.mat", {"GTcls": content}, do_compression=True)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = make_voc(tmp_path_factory.mktemp("archives"))
    shutil.rmtree(place / "VOCdevkit" / "VOC2012" / "SegmentationClassAug")
    (place / LIST).unlink()
    make_sbd(place)
    return {
        f"/{VOC_FILE}": packed(place, "VOCdevkit", "tar"),
        f"/{SBD_FILE}": packed(place, "benchmark_RELEASE", "gztar"),
    }


@pytest.fixture
def server(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(data.download, "PAUSE", 0)
    with Server(dict(archives)) as server:
        for constant, name in (("VOC_ARCHIVE", VOC_FILE), ("SBD_ARCHIVE", SBD_FILE)):
            monkeypatch.setattr(voc_download, constant, (f"{server.url}/{name}", md5(archives[f"/{name}"])))
        yield server


@pytest.fixture(scope="module")
def expected(archives: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of VOC."""
    place = tmp_path_factory.mktemp("unpacked")
    (place / VOC_FILE).write_bytes(archives[f"/{VOC_FILE}"])
    shutil.unpack_archive(place / VOC_FILE, place / "voc", filter="data")
    return files_below(place / "voc")


@pytest.mark.parametrize("root", ["new/voc", "~/my dätä 集"])
def test_voc_comes_whole_and_once(
    server: Server, expected: dict[str, bytes], root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / root.removeprefix("~/")
    dataset = VOC(root, "train", download=True)
    assert files_below(tmp_path) == {f"{place.relative_to(tmp_path)}/{name}": b for name, b in expected.items()}
    assert [p.name for p in place.iterdir()] == ["VOCdevkit"]
    assert len(dataset) == 4 and dataset.faults == []
    np.testing.assert_array_equal(dataset[2].mask, blocks(2, [*range(21), 255]))
    assert len(VOC(root, "val", download=True)) == 2
    assert server.paths == [f"/{VOC_FILE}"]


def test_what_is_there_is_kept(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    others = {"VOCdevkit/VOC2007/a.txt": b"a", "VOCdevkit/VOC2012/ImageSets/Segmentation/own.txt": b"b", "c": b"c"}
    for name, content in others.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    VOC(str(tmp_path), "train", download=True)
    assert files_below(tmp_path) == {**expected, **others}


def test_a_cut_connection_is_continued(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    server.cuts = [5000, 7000]
    VOC(str(tmp_path), "train", download=True)
    assert server.ranges == [None, "bytes=5000-", "bytes=12000-"]
    assert files_below(tmp_path) == expected


def test_the_next_call_goes_on_with_the_archive(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    server.cuts = [5000] + [0] * 20
    with pytest.raises(UserError, match=rf"{VOC_FILE} cannot be downloaded .*the same command continues"):
        VOC(str(tmp_path), "train", download=True)
    assert [p.name for p in tmp_path.iterdir()] == [f"{VOC_FILE}.part"]
    server.cuts.clear()
    VOC(str(tmp_path), "train", download=True)
    assert server.ranges[-1] == "bytes=5000-"
    assert files_below(tmp_path) == expected


def test_an_archive_put_there_by_hand_is_taken(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    """As the message about an address that is gone says."""
    (tmp_path / VOC_FILE).write_bytes(server.files.pop(f"/{VOC_FILE}"))
    VOC(str(tmp_path), "train", download=True)
    assert server.paths == []
    assert files_below(tmp_path) == expected


def test_train_aug_is_sbd_and_train_without_val(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    dataset = VOC(str(tmp_path), "train_aug", download=True)
    assert server.paths == [f"/{VOC_FILE}", f"/{SBD_FILE}"]
    assert {p.name for p in tmp_path.iterdir()} == {"VOCdevkit", "benchmark_RELEASE"}
    assert (tmp_path / LIST).read_text().split() == TRAIN_AUG
    assert [dataset.name(i) for i in range(len(dataset))] == [f"JPEGImages/{name}.jpg" for name in TRAIN_AUG]
    assert dataset.faults == []
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    for i in range(4):
        name = f"2007_{i:06}.png"
        assert (voc / "SegmentationClassAug" / name).read_bytes() == (voc / "SegmentationClass" / name).read_bytes()
    for place, number in ((4, 6), (5, 7)):
        np.testing.assert_array_equal(dataset[place].mask, theirs(number))
        with Image.open(voc / "SegmentationClassAug" / f"2007_{number:06}.png") as picture:
            assert (picture.format, picture.mode, picture.getpalette()) == ("PNG", "P", COLOR_MAP)
            np.testing.assert_array_equal(np.asarray(picture), theirs(number))
    files = files_below(tmp_path)
    assert {name: files[name] for name in expected} == expected
    VOC(str(tmp_path), "train_aug", download=True)
    assert len(server.paths) == 2
    assert files_below(tmp_path) == files


def test_train_aug_is_added_to_a_voc_that_is_there(server: Server, tmp_path: Path) -> None:
    VOC(str(tmp_path), "train", download=True)
    assert len(VOC(str(tmp_path), "train_aug", download=True)) == len(TRAIN_AUG)
    assert server.paths == [f"/{VOC_FILE}", f"/{SBD_FILE}"]


@pytest.mark.parametrize(
    ("place", "name", "call"),
    [
        (data.download, "_merge", 1),  # VOC is unpacked
        (data.download, "_merge", 2),  # SBD is
        (Path, "write_bytes", 2),  # a mask of VOC's
        (voc_download, "loadmat", 2),  # one of SBD's
        (Image.Image, "save", 2),
        (Path, "write_bytes", 9),  # the list
    ],
)
def test_an_interruption_does_no_harm(
    server: Server, place: Any, name: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    VOC(str(tmp_path / "whole"), "train_aug", download=True)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(place, name, interrupted(getattr(place, name), call))
        VOC(str(tmp_path / "data"), "train_aug", download=True)
    assert not (tmp_path / "data" / LIST).exists()
    server.paths.clear()
    VOC(str(tmp_path / "data"), "train_aug", download=True)
    assert files_below(tmp_path / "data") == files_below(tmp_path / "whole")
    assert server.paths == ([f"/{SBD_FILE}"] if (place, call) == (data.download, 1) else [])


def test_an_address_that_is_gone_says_what_to_do(server: Server, expected: dict[str, bytes], tmp_path: Path) -> None:
    voc, sbd = (server.files.pop(f"/{name}") for name in (VOC_FILE, SBD_FILE))
    for name, content, there in ((VOC_FILE, voc, {}), (SBD_FILE, sbd, expected)):
        message = rf"{server.url}/{name} cannot be downloaded .*404.* put the file at {tmp_path / name} by hand"
        with pytest.raises(UserError, match=message):
            VOC(str(tmp_path), "train_aug", download=True)
        assert files_below(tmp_path) == there
        assert not (tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClassAug").exists()
        (tmp_path / name).write_bytes(content)
    assert len(VOC(str(tmp_path), "train")) == 4
    assert len(VOC(str(tmp_path), "train_aug", download=True)) == len(TRAIN_AUG)


def test_nothing_is_fetched_unasked_or_for_a_split_that_does_not_exist(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.download=true"):
        VOC(str(tmp_path), "train")
    with pytest.raises(UserError, match="no split 'train_augmented'"):
        VOC(str(tmp_path), "train_augmented", download=True)
    assert server.paths == [] and list(tmp_path.iterdir()) == []


def test_the_config_says_whether_and_where(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "my data"
    words = ["data=voc", f"data.root='{root}'", "data.train_split=train_aug", "data.download=true"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", words)
        without = compose("train", words[:-1])
    with pytest.raises(UserError, match=r"VOC 2012 was not found"):
        build_dataset(without.data, without.data.train_split)
    assert server.paths == []
    assert len(build_dataset(cfg.data, cfg.data.train_split)) == len(TRAIN_AUG)
    assert len(build_dataset(cfg.data, cfg.data.val_split)) == 2
    assert {p.name for p in root.iterdir()} == {"VOCdevkit", "benchmark_RELEASE"}


def test_a_damaged_mask_of_sbd_is_named(server: Server, tmp_path: Path) -> None:
    VOC(str(tmp_path), "train_aug", download=True)
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    (voc / "ImageSets" / "Segmentation" / "train_aug.txt").unlink()
    shutil.rmtree(voc / "SegmentationClassAug")
    damaged = sorted((tmp_path / "benchmark_RELEASE" / "dataset" / "cls").glob("*.mat"))[-1]
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(UserError, match=rf"{damaged.name}: cannot be read .*delete .*benchmark_RELEASE.*again"):
        VOC(str(tmp_path), "train_aug", download=True)
    shutil.rmtree(damaged.parents[1])
    assert len(VOC(str(tmp_path), "train_aug", download=True)) > 0


@pytest.mark.parametrize("gone", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation/train.txt"])
def test_what_is_missing_is_fetched(server: Server, tmp_path: Path, gone: str) -> None:
    VOC(str(tmp_path), "train", download=True)
    path = tmp_path / "VOCdevkit" / "VOC2012" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    dataset = VOC(str(tmp_path), "train", download=True)
    assert len(dataset) > 0 and not dataset.faults


def test_several_processes_that_ask_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=VOC, args=(str(tmp_path), "train", True)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(server.paths) == 1
    assert files_below(tmp_path) and not [name for name in files_below(tmp_path) if name.startswith(".")]
