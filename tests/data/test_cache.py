import importlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from data.cache import CachedSamples, OnDisk
from data.cache_files import cache_key
from data.checking import checked_samples
from data.cityscapes import Cityscapes
from data.loading import ValidationLoader
from data.resized import ResizedSamples
from data.samples import Sample
from data.synthetic import Synthetic
from data.voc import VOC
from tests.conftest import ROOT
from tests.data.layouts import make_cityscapes, make_voc, photo, write
from utils.errors import UserError

PLACES: list[Literal["ram", "disk"]] = ["ram", "disk"]
SIZE = (40, 56)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pascal VOC; the cache lies beside it."""
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    return make_voc(tmp_path / "voc")


def samples_of(root: Path, masks: bool, size: tuple[int, int] = SIZE) -> ResizedSamples:
    dataset = VOC(str(root), "train")
    return ResizedSamples(dataset, size, masks)


def same(a: Sample, b: Sample) -> bool:
    return a.name == b.name and np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("where", PLACES)
def test_the_kept_samples_are_the_samples(root: Path, where: Literal["ram", "disk"], masks: bool) -> None:
    write(root / "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg", photo(2, (32, 40)))  # not all of one size
    write(root / "VOCdevkit/VOC2012/SegmentationClass/2007_000002.png", np.full((32, 40), 3, np.uint8))
    plain = samples_of(root, masks)
    cached = CachedSamples(plain, where)
    for _ in range(3):
        assert all(same(cached[i], plain[i]) for i in range(4))
    assert [cached.size(i) for i in range(4)] == [plain.size(i) for i in range(4)]
    assert cached[2].mask.shape == (SIZE if masks else (32, 40))
    assert cached.labels == plain.labels and len(cached) == 4 and cached.files(1) == plain.files(1)


@pytest.mark.parametrize("where", PLACES)
def test_nothing_is_read_twice(root: Path, where: Literal["ram", "disk"]) -> None:
    cached = CachedSamples(samples_of(root, True), where)
    first = [cached[i] for i in range(4)]
    for i in range(4):
        for path in cached.files(i):
            Path(path).unlink()
    assert all(same(cached[i], first[i]) for i in range(4))


@pytest.mark.parametrize("where", PLACES)
def test_work_in_place_does_not_spoil_what_is_kept(root: Path, where: Literal["ram", "disk"]) -> None:
    plain = samples_of(root, True)
    cached = CachedSamples(plain, where)
    for _ in range(2):
        sample = cached[0]
        sample.image[:], sample.mask[:] = 0, 0
    assert same(cached[0], plain[0])


def test_another_run_finds_what_is_on_disk(root: Path) -> None:
    before = CachedSamples(samples_of(root, True), "disk")
    first = [before[i] for i in range(4)]
    again = CachedSamples(samples_of(root, True), "disk")
    for i in range(4):
        Path(again.files(i)[0]).unlink()
    assert all(same(again[i], first[i]) for i in range(4))


def test_everything_that_shapes_a_sample_is_in_the_name(root: Path, tmp_path: Path) -> None:
    def folder(samples: ResizedSamples) -> str:
        store = CachedSamples(samples, "disk")._store
        assert isinstance(store, OnDisk)
        return store.path.name

    plain = samples_of(root, True)
    assert folder(plain) == folder(samples_of(root, True))
    names = [
        folder(plain),
        folder(samples_of(root, True, (40, 48))),
        folder(samples_of(root, False)),
        folder(ResizedSamples(VOC(str(root), "train"), SIZE, True, 3)),
        folder(ResizedSamples(VOC(str(root), "train_aug"), SIZE, True, 4)),
    ]
    make_cityscapes(tmp_path / "cityscapes")
    for classes in (19, 20):
        scenes = Cityscapes(str(tmp_path / "cityscapes"), "train", classes=classes)
        names.append(folder(ResizedSamples(scenes, SIZE, True)))
    path = Path(plain.files(2)[1])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    names.append(folder(samples_of(root, True)))
    assert len(set(names)) == len(names)


def test_the_name_does_not_depend_on_the_process(root: Path) -> None:
    """Processes order the strings of a set each in their own way."""
    code = (
        "import sys; from data.cache_files import cache_key; from data.folds import fold_of; from data.voc import VOC;"
        "from data.resized import ResizedSamples; voc = VOC(sys.argv[1], 'train_aug');"
        "print(*(cache_key(ResizedSamples(part, (40, 56), True)) for part in (voc, fold_of(voc, 'fold', 2, 0))))"
    )
    words = [sys.executable, "-c", code, str(root)]
    seeds = [{**os.environ, "PYTHONHASHSEED": str(seed)} for seed in range(4)]
    found = [subprocess.run(words, cwd=ROOT, env=env, text=True, capture_output=True, check=True) for env in seeds]
    assert len({done.stdout for done in found}) == 1


def test_what_was_not_written_whole_is_written_again(root: Path) -> None:
    """As after a crash of the machine, when a mark has reached the disk and its data have not."""
    plain = samples_of(root, True)
    cached = CachedSamples(plain, "disk")
    assert all(same(cached[i], plain[i]) for i in range(4))
    cached._store.bytes[100:200] = 0
    again = CachedSamples(samples_of(root, True), "disk")
    for _ in range(2):
        assert all(same(again[i], plain[i]) for i in range(4))


def test_the_code_that_reads_is_in_the_name(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a data set of the user's own, too."""
    code = "from data.voc import VOC\nclass Mine(VOC):\n    pass\n"
    (tmp_path / "mine_for_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    dataset = importlib.import_module("mine_for_a_test").Mine(str(root), "train")
    before = cache_key(ResizedSamples(dataset, SIZE, True))
    assert cache_key(ResizedSamples(dataset, SIZE, True)) == before
    (tmp_path / "mine_for_a_test.py").write_text(code + "# changed\n")
    assert cache_key(ResizedSamples(dataset, SIZE, True)) != before


def test_scenes_that_were_drawn_are_not_in_the_name() -> None:
    scenes = Synthetic((32, 32), "train", train_length=3)
    before = cache_key(ResizedSamples(scenes, SIZE, True))
    scenes[0]
    assert cache_key(ResizedSamples(scenes, SIZE, True)) == before


def test_room_is_set_aside(root: Path) -> None:
    """Two caches that are not filled yet must not count on the same free space."""
    store = CachedSamples(samples_of(root, True), "disk")._store
    assert isinstance(store, OnDisk)
    state = store.path.stat()
    assert state.st_blocks * 512 >= state.st_size


@pytest.mark.parametrize("where", PLACES)
def test_a_damaged_mask_is_named(root: Path, where: Literal["ram", "disk"]) -> None:
    path = root / "VOCdevkit/VOC2012/SegmentationClass/2007_000001.png"
    path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2007_000001\.png: cannot be read"):
        checked_samples(VOC(str(root), "train"), "train", SIZE, masks=False, cache=where)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"2007_000001\.png: the file is empty"):
        checked_samples(VOC(str(root), "train"), "train", SIZE, masks=False, cache=where)
    assert not (root.parent / ".cache").exists()


def fill(root: str, order: list[int], barrier: object) -> None:
    """What each of several processes does, at the same time."""
    cached = CachedSamples(samples_of(Path(root), True), "disk")
    barrier.wait()  # type: ignore[attr-defined]
    plain = cached.dataset
    for i in order:
        assert same(cached[i], plain[i])


def test_several_processes_fill_it_at_once(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    orders = ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [0, 0, 1, 1])
    processes = [context.Process(target=fill, args=(str(root), order, barrier)) for order in orders]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * 4
    plain = samples_of(root, True)
    assert all(same(CachedSamples(samples_of(root, True), "disk")[i], plain[i]) for i in range(4))


@pytest.mark.parametrize("where", PLACES)
def test_workers_share_it(root: Path, where: Literal["ram", "disk"]) -> None:
    samples = CachedSamples(ResizedSamples(VOC(str(root), "train"), SIZE, masks=False), where)
    loader = ValidationLoader(samples, batch_size=2, num_workers=2)
    first = [batch.images.clone() for batch in loader]
    assert isinstance(samples, CachedSamples)
    starts = [0, *samples._ends[:-1].tolist()]
    assert all(samples._store.bytes[start : start + 4].any() for start in starts)  # checksums, by the workers
    for i in range(4):
        Path(samples.files(i)[0]).unlink()
    assert all((batch.images == images).all() for batch, images in zip(loader, first, strict=True))


@pytest.mark.parametrize("where", PLACES)
def test_it_reaches_processes_that_are_started_anew(root: Path, where: Literal["ram", "disk"]) -> None:
    """As where processes cannot be forked: pickled, and still one store."""
    cached = CachedSamples(samples_of(root, True), where)
    expected = cached[1]
    packed = pickle.dumps(cached)
    assert len(packed) < 10_000
    other = pickle.loads(packed)
    for i in range(4):
        Path(other.files(i)[0]).unlink()
    assert same(other[1], expected)


def test_no_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        free = available = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Little)
    monkeypatch.setattr("psutil.virtual_memory", lambda: Little)
    with pytest.raises(UserError, match=r"data\.cache=disk needs 0\.00 GB, and there are 0\.00 GB of space in"):
        CachedSamples(samples_of(root, True), "disk")
    with pytest.raises(UserError, match=r"data\.cache=ram needs .*data\.cache=none"):
        CachedSamples(samples_of(root, True), "ram")


def test_no_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_text("")
    monkeypatch.setenv("SEGMENTATION_DATA", str(root / "file"))
    with pytest.raises(UserError, match=r"data\.cache=disk: .* cannot be written .*SEGMENTATION_DATA"):
        CachedSamples(samples_of(root, True), "disk")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is not seen in a folder here")
@pytest.mark.slow
def test_memory_is_given_back(root: Path) -> None:
    """At the end of the process, whether or not workers were there."""
    script = (
        "import sys; from data.cache import CachedSamples; from data.loading import ValidationLoader\n"
        "from data.resized import ResizedSamples; from data.voc import VOC\n"
        "samples = CachedSamples(ResizedSamples(VOC(sys.argv[1], 'train'), (40, 56), masks=False), 'ram')\n"
        "list(ValidationLoader(samples, batch_size=2, num_workers=1))\n"
        "print(samples._store.memory.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() and not Path("/dev/shm", done.stdout.strip()).exists()
