"""Random crops of large photos, and large photos made small, against the usual pipeline.

python -m benchmarks.crops

Measures the CPU time of one worker, which other programs disturb less than the wall clock.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import psutil
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.data import SCENES, Usual, drain, write_scenes
from benchmarks.timing import interleaved
from data.augmentation import Augmentation
from data.cache import CachedSamples
from data.cropping import RandomCrop
from data.folder import Folder
from data.loading import TrainingLoader
from data.resized import ResizedSamples
from data.samples import SegmentationDataset
from utils.tables import table

CROP, SMALL, BATCH = (512, 1024), (256, 512), 4


def usual(dataset: SegmentationDataset, transforms: list[A.BasicTransform]) -> dict[str, DataLoader]:
    """Return loaders of the usual pipeline, with both decoders."""
    options: dict[str, Any] = {"num_workers": 1, "persistent_workers": True, "shuffle": True}
    return {
        f"usual, {name}": DataLoader(
            Usual(dataset, transforms, name == "OpenCV"), BATCH, worker_init_fn=_one_thread, **options
        )
        for name in ("Pillow", "OpenCV")
    }


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)


def write_photos(folder: Path, scenes: SegmentationDataset) -> Folder:
    """Write the scenes as JPEGs, with masks of train ids."""
    for i in range(len(scenes)):
        image, mask, _ = scenes[i]
        for path, pixels in ((folder / f"images/{i}.jpg", image), (folder / f"masks/{i}.png", mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=90)
    labels = {str(i): {"class": name, "color": [i, i, i]} for i, name in enumerate(scenes.labels.names)}
    (folder / "labels.json").write_text(json.dumps(labels))
    return Folder(str(folder), "all")


def worker_time() -> float:
    """Return the CPU seconds of all workers so far."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def measured(title: str, loaders: dict[str, DataLoader]) -> list[list[str]]:
    """Return the rows of a table; ratios are to the first loader."""
    rivals = {name: functools.partial(drain, loader) for name, loader in loaders.items()}
    times = interleaved(rivals, 7, warmup=1, clock=worker_time)
    base = times[next(iter(times))]
    return [
        [title, "", ""],
        *([name, f"{value / SCENES * 1000:.1f} ms", f"{base / value:.2f}"] for name, value in times.items()),
    ]


def main() -> None:
    colors = [A.HorizontalFlip(p=0.5), A.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.02, 0.02), p=0.5)]
    scaled = A.RandomScale((-0.5, 1.0), p=1, mask_interpolation=cv2.INTER_NEAREST_EXACT)
    cropped = A.RandomCrop(*CROP, pad_if_needed=True, fill=(124, 116, 104), fill_mask=255)
    resized = A.Resize(*SMALL, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT)
    crop, limited = RandomCrop(colors, crop_size=CROP), RandomCrop(colors, crop_size=CROP, max_class_share=0.75)
    rows = [["CPU time per sample", "", "ratio"]]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["SEGMENTATION_DATA"] = temporary
        scenes = write_scenes(Path(temporary, "scenes"))
        photos = write_photos(Path(temporary, "photos"), scenes)

        def ours(samples: SegmentationDataset, augmentation: Augmentation, size: tuple[int, int]) -> DataLoader:
            return TrainingLoader(samples, augmentation, image_size=size, batch_size=BATCH, seed=0, num_workers=1)

        for title, dataset in (("PNG", scenes), ("JPEG", photos)):
            samples = ResizedSamples(dataset, None, masks=True)
            loaders = {
                **usual(dataset, [scaled, cropped, *colors]),
                "augmentation=crop": ours(samples, crop, CROP),
                "... max_class_share=0.75": ours(samples, limited, CROP),
                "... data.cache=disk": ours(CachedSamples(samples, "disk"), crop, CROP),
            }
            rows += measured(f"{title}s of 1024x2048, crops of 512x1024", loaders)
        small = ResizedSamples(photos, SMALL, masks=True)
        loaders = {**usual(photos, [resized, *colors]), "data.image_size": ours(small, Augmentation(colors), SMALL)}
        rows += measured("JPEGs of 1024x2048 at 256x512", loaders)
    print(table(rows))


if __name__ == "__main__":
    main()
