from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import data.download
from config.nodes import build_dataset
from data import coco
from data.coco import COCO
from tests.conftest import ROOT
from tests.data.archive_server import Server, files_below, interrupted, md5, packed
from tests.data.layouts import make_coco
from utils.errors import UserError

ANNOTATIONS, TRAIN, VAL = (f"/{path}" for path, _ in coco.ARCHIVES.values())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_coco(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def server(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    archives = {folder: (path, packed(whole, folder, "zip")) for folder, (path, _) in coco.ARCHIVES.items()}
    monkeypatch.setattr(data.download, "PAUSE", 0)
    with Server({f"/{path}": content for path, content in archives.values()}) as server:
        monkeypatch.setattr(coco, "ADDRESS", server.url)
        hashed = {folder: (path, md5(content)) for folder, (path, content) in archives.items()}
        monkeypatch.setattr(coco, "ARCHIVES", hashed)
        yield server


def parts_of(whole: Path, *folders: str) -> dict[str, bytes]:
    return {name: content for name, content in files_below(whole).items() if name.partition("/")[0] in folders}


@pytest.mark.parametrize("root", ["new/coco", "~/my dätä 集"])
def test_only_what_the_split_needs_is_fetched_and_once(
    server: Server, whole: Path, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / root.removeprefix("~/")
    dataset = COCO(root, "val", download=True)
    assert server.paths == [ANNOTATIONS, VAL]
    assert files_below(place) == parts_of(whole, "annotations", "val2017")
    assert {p.name for p in place.iterdir()} == {"annotations", "val2017"}
    assert len(dataset) == 3 and dataset.faults == []
    assert dataset[0].mask.any()
    COCO(root, "val", download=True)
    assert server.paths == [ANNOTATIONS, VAL]
    assert len(COCO(root, "train", download=True)) == 3
    assert server.paths == [ANNOTATIONS, VAL, TRAIN]
    assert files_below(place) == files_below(whole)


def test_a_cut_connection_is_continued(server: Server, whole: Path, tmp_path: Path) -> None:
    cut = len(server.files[ANNOTATIONS]) - 1
    server.cuts = [500, cut - 500, 1, 300]
    COCO(str(tmp_path), "val", download=True)
    assert server.paths == [ANNOTATIONS] * 3 + [VAL] * 2
    assert server.ranges == [None, "bytes=500-", f"bytes={cut}-", None, "bytes=300-"]
    assert files_below(tmp_path) == parts_of(whole, "annotations", "val2017")


@pytest.mark.parametrize(("call", "left"), [(1, ["annotations_trainval2017.zip"]), (2, ["annotations", "val2017.zip"])])
def test_an_interruption_of_unpacking_does_no_harm(
    server: Server, whole: Path, call: int, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(data.download, "_merge", interrupted(data.download._merge, call))
        COCO(str(tmp_path), "val", download=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == left
    COCO(str(tmp_path), "val", download=True)
    assert server.paths == [ANNOTATIONS, VAL]
    assert files_below(tmp_path) == parts_of(whole, "annotations", "val2017")


def test_an_address_that_is_gone_says_what_to_do(server: Server, whole: Path, tmp_path: Path) -> None:
    photos = server.files.pop(VAL)
    by_hand = tmp_path / "val2017.zip"
    with pytest.raises(
        UserError, match=rf"{server.url}{VAL} cannot be downloaded .*404.* put the file at {by_hand} by hand"
    ):
        COCO(str(tmp_path), "val", download=True)
    assert files_below(tmp_path) == parts_of(whole, "annotations")
    by_hand.write_bytes(photos)
    assert len(COCO(str(tmp_path), "val", download=True)) == 3
    assert server.paths == [ANNOTATIONS, VAL]
    assert files_below(tmp_path) == parts_of(whole, "annotations", "val2017")


def test_nothing_is_fetched_unasked_or_for_a_split_that_does_not_exist(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.download=true"):
        COCO(str(tmp_path), "val")
    with pytest.raises(UserError, match="no split 'test'"):
        COCO(str(tmp_path), "test", download=True)
    assert server.paths == [] and list(tmp_path.iterdir()) == []


def test_the_config_says_whether_and_where(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "my data"
    words = ["data=coco", f"data.root='{root}'", "data.classes=21", "data.download=true"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", words)
        without = compose("train", words[:-1])
    with pytest.raises(UserError, match="COCO 2017 was not found"):
        build_dataset(without.data, without.data.val_split)
    assert server.paths == []
    dataset = build_dataset(cfg.data, cfg.data.val_split)
    assert (len(dataset), len(dataset.labels)) == (1, 21)
    assert {p.name for p in root.iterdir()} == {"annotations", "val2017"}
