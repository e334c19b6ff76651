"""Data loading against common implementations: samples per second of one worker, with and without a cache, labels of
JPEG pairs, and long lists of files.

python -m benchmarks.data

CAMVID_ROOT and VOC_ROOT are the paths of those data sets; without them, their rows are skipped. Writes 0.2 GB to a
temporary folder.
"""

from __future__ import annotations

import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import psutil
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import interleaved
from data.augmentation import Augmentation
from data.cache import CachedSamples
from data.camvid import CamVid
from data.checking import check_contents
from data.cityscapes import Cityscapes
from data.cityscapes_labels import LABELS, train_ids
from data.cityscapes_pairs import CityscapesPairs, nearest_label
from data.loading import TrainingLoader
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from data.synthetic import Synthetic
from data.voc import VOC
from utils.config_groups import CONF
from utils.tables import table

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZE = (512, 512)
BATCH = 8
FILES = 120_000
SCENES, DRAWN = 24, 4
READ = 400
ROUNDS = 4


class Usual(Dataset):
    """A common data set: decoded whole, normalised to float32 by albumentations, copied and permuted by torch."""

    def __init__(self, dataset: SegmentationDataset, transforms: list[A.BasicTransform], opencv: bool = False) -> None:
        self.dataset, self.opencv = dataset, opencv
        self.compose = A.Compose([*transforms, A.Normalize()])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo, ids = self.dataset.files(index)
        if self.opencv:
            image, mask = cv2.imread(photo, cv2.IMREAD_COLOR_RGB), cv2.imread(ids, cv2.IMREAD_UNCHANGED)
        else:
            image, mask = np.array(Image.open(photo).convert("RGB")), np.array(Image.open(ids))
        augmented = self.compose(image=image, mask=mask)
        return torch.tensor(augmented["image"]).permute(2, 0, 1), torch.tensor(augmented["mask"]).long()


def augmentation(name: str, size: tuple[int, int]) -> Augmentation:
    """Build an option of conf/augmentation/."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"augmentation={name}", f"data.image_size=[{size[0]},{size[1]}]"])
        return instantiate(config.augmentation, _convert_="all")


def one_worker(dataset: SegmentationDataset) -> dict[str, float]:
    """Return the seconds of an epoch with one worker and the `affine` augmentation."""
    affine = augmentation("affine", SIZE)
    samples = ResizedSamples(dataset, SIZE, masks=True)
    ours = TrainingLoader(samples, affine, image_size=SIZE, batch_size=BATCH, seed=0, num_workers=1)
    usual = Usual(dataset, [A.Resize(*SIZE), *affine.transforms])
    theirs = DataLoader(usual, BATCH, shuffle=True, num_workers=1, persistent_workers=True)
    return interleaved({"ours": lambda: drain(ours), "theirs": lambda: drain(theirs)}, ROUNDS, warmup=1)


def write_scenes(folder: Path) -> Cityscapes:
    """Write generated scenes of 1024x2048 in the layout of Cityscapes, few of them many times: drawing takes long."""
    scenes = Synthetic((1024, 2048), "train")
    for i in range(DRAWN):
        image, mask, _ = scenes[i]
        for kind, pixels in (("leftImg8bit", image), ("gtFine_labelIds", mask + 7)):
            town = folder / kind.partition("_")[0] / "train" / "town"
            town.mkdir(parents=True, exist_ok=True)
            first = town / f"town_{i:06}_{kind}.png"
            Image.fromarray(pixels).save(first)
            for copy in range(i + DRAWN, SCENES, DRAWN):
                os.link(first, town / f"town_{copy:06}_{kind}.png")
    return Cityscapes(str(folder), "train")


def cache_on_disk(folder: Path) -> dict[str, float]:
    """Return the seconds of an epoch of 24 scenes of 1024x2048 at 512x1024, with one worker, from files and cache."""
    size = (512, 1024)
    dataset = write_scenes(folder)
    os.environ["SEGMENTATION_DATA"] = str(folder)
    flip = augmentation("flip", size)
    loaders = {
        name: TrainingLoader(samples, flip, image_size=size, batch_size=BATCH, seed=0, num_workers=1)
        for name, samples in (
            ("ours", CachedSamples(ResizedSamples(dataset, size, masks=True), "disk")),
            ("theirs", ResizedSamples(dataset, size, masks=True)),
        )
    }
    return interleaved({name: functools.partial(drain, loader) for name, loader in loaders.items()}, ROUNDS, 1)


def labels_of_pairs(folder: Path) -> tuple[dict[str, float], float]:
    """Return the seconds per picture for its labels, and the share of pixels that do not have the nearest colour."""
    colors = np.array([label.color for label in LABELS], np.float32)
    ids = train_ids(20)[[label.id for label in LABELS]].astype(np.uint8)
    scene_ids = np.array([23, 11, 7, 8, 21, 17, 20, 26, 24])  # of sky, building ... in generated scenes
    scenes = Synthetic((256, 256), "train", train_length=20)
    (folder / "train").mkdir(parents=True)
    for i in range(len(scenes)):
        image, mask, _ = scenes[i]
        labels = np.array([label.color for label in LABELS], np.uint8)[scene_ids[mask]]
        Image.fromarray(np.concatenate([image, labels], 1)).save(folder / "train" / f"{i}.jpg", quality=75)
    dataset = CityscapesPairs(str(folder), "train")
    pictures = [np.asarray(Image.open(dataset.files(i)[0]))[:, 256:] for i in range(len(dataset))]

    def exact() -> list[np.ndarray]:
        found = []
        for picture in pictures:
            distances = ((picture.reshape(-1, 1, 3) - colors) ** 2).sum(-1)
            found.append(ids[distances.argmin(-1)].reshape(picture.shape[:2]))
        return found

    rivals = {
        "ours": lambda: [nearest_label(picture) for picture in pictures],
        "with decoding": lambda: [dataset[i] for i in range(len(dataset))],
        "theirs": exact,
    }
    times = interleaved(rivals, ROUNDS, warmup=1)
    wrong = [(nearest_label(p) != e).mean() for p, e in zip(pictures, exact(), strict=True)]
    return {name: value / len(pictures) for name, value in times.items()}, float(np.mean(wrong))


class PathList(Dataset):
    """A common way to hold a list of pairs of paths."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> int:
        return len(self.pairs[index][0].name)


def long_list(folder: Path) -> tuple[float, float, float]:
    """Return the seconds to the first batch of 120,000 files, and the MB that reading adds to our and their worker."""
    voc = folder / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / name).mkdir(parents=True)
    names = [f"2007_{i:06}" for i in range(FILES)]
    rng = np.random.default_rng(0)
    for kind, suffix, shape, values in (
        ("JPEGImages", "jpg", (32, 32, 3), 256),
        ("SegmentationClass", "png", (32, 32), 21),
    ):
        first = voc / kind / f"{names[0]}.{suffix}"
        Image.fromarray(rng.integers(0, values, shape).astype(np.uint8)).save(first)
        for number, name in enumerate(names[1:]):
            if number % 50_000 == 49_999:  # file systems limit the links to one file
                first = first.with_name(f"{name}.{suffix}")
                first.write_bytes((voc / kind / f"{names[0]}.{suffix}").read_bytes())
            else:
                os.link(first, voc / kind / f"{name}.{suffix}")
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))

    start = time.perf_counter()
    samples = ResizedSamples(VOC(str(folder), "train"), (32, 32), masks=True)
    check_contents(samples, "train")
    none = augmentation("none", (32, 32))
    loader = TrainingLoader(samples, none, image_size=(32, 32), batch_size=64, seed=0, num_workers=1)
    batches = iter(loader)
    next(batches)
    to_first_batch = time.perf_counter() - start
    ours = growth(batches)
    del batches, loader
    pairs = [(voc / "JPEGImages" / f"{n}.jpg", voc / "SegmentationClass" / f"{n}.png") for n in names]
    theirs = iter(DataLoader(PathList(pairs), 64, shuffle=True, num_workers=1))
    next(theirs)
    return to_first_batch, ours, growth(theirs)


def growth(batches: Iterator[object]) -> float:
    """Return the MB that iterating over batches adds to the unshared memory of the worker.

    After READ batches, a fifth of the files, a worker has touched nearly every page of a list of paths.
    """
    (worker,) = (p for p in psutil.Process().children() if "resource_tracker" not in " ".join(p.cmdline()))
    before, during = worker.memory_full_info().uss, []
    for number, _ in enumerate(itertools.islice(batches, READ)):
        if number % 100 == 99:
            during.append(worker.memory_full_info().uss)
    return (statistics.median(during[-3:]) - before) / 1e6


def drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def main() -> None:
    rows = [["", "theirs", "ours", "ratio"]]
    sets: dict[str, Callable[[], SegmentationDataset]] = {
        "CamVid": lambda: CamVid(os.environ.get("CAMVID_ROOT", str(SHARED / "camvid")), "train"),
        "VOC": lambda: VOC(os.environ.get("VOC_ROOT", str(SHARED / "voc")), "train"),
    }
    for name, build in sets.items():
        try:
            dataset = build()
        except Exception as error:
            print(f"{name}: skipped: {error}")
            continue
        times = one_worker(dataset)
        rates = {who: len(dataset) / value for who, value in times.items()}
        row = [f"{name}, affine, 512x512", f"{rates['theirs']:.0f}/s", f"{rates['ours']:.0f}/s"]
        rows.append([*row, f"{rates['ours'] / rates['theirs']:.2f}"])
    with tempfile.TemporaryDirectory() as temporary:
        times = cache_on_disk(Path(temporary, "scenes"))
        rates = {who: SCENES / value for who, value in times.items()}
        row = ["1024x2048 PNG at 512x1024, data.cache=disk", f"{rates['theirs']:.1f}/s", f"{rates['ours']:.1f}/s"]
        rows.append([*row, f"{rates['ours'] / rates['theirs']:.1f}"])
        each, wrong = labels_of_pairs(Path(temporary, "pairs"))
        row = ["labels of pairs, 256x256", f"{1 / each['theirs']:.0f}/s", f"{1 / each['ours']:.0f}/s"]
        rows.append([*row, f"{each['theirs'] / each['ours']:.0f}"])
        rows.append(["... including the photo and decoding", "", f"{1 / each['with decoding']:.0f}/s", ""])
        rows.append(["... pixels without the nearest colour", "0", f"{wrong:.4%}", ""])
        first, ours, theirs = long_list(Path(temporary, "voc"))
        rows.append([f"first batch of {FILES:,} files", "", f"{first:.2f} s", ""])
        rows.append(["memory that reading a fifth adds to a worker", f"{theirs:.0f} MB", f"{ours:.0f} MB", ""])
    print(table(rows))


if __name__ == "__main__":
    main()
