"""Random crops of large photos against the usual pipeline: images per second of one worker.

python -m benchmarks.crops
"""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.data import SCENES, drain, write_scenes
from benchmarks.timing import interleaved
from data.cache import CachedSamples
from data.cityscapes import Cityscapes
from data.cropping import RandomCrop
from data.loading import TrainingLoader
from data.resized import ResizedSamples
from utils.tables import table

CROP, BATCH = (512, 1024), 4


class Usual(Dataset):
    """Decode whole photos, scale them whole, crop, then flip, change colours and normalise with albumentations."""

    def __init__(self, dataset: Cityscapes, transforms: list[A.BasicTransform], opencv: bool) -> None:
        self.dataset, self.opencv = dataset, opencv
        scale = A.RandomScale((-0.5, 1.0), p=1, mask_interpolation=cv2.INTER_NEAREST_EXACT)
        crop = A.RandomCrop(*CROP, pad_if_needed=True, fill=(124, 116, 104), fill_mask=255)
        self.compose = A.Compose([scale, crop, *transforms, A.Normalize()])

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


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)


def main() -> None:
    transforms = [A.HorizontalFlip(p=0.5), A.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.02, 0.02), p=0.5)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGMENTATION_DATA"] = folder
        dataset = write_scenes(Path(folder))
        photos = ResizedSamples(dataset, None, masks=True)
        options: dict[str, Any] = {"image_size": CROP, "batch_size": BATCH, "seed": 0, "num_workers": 1}
        crop = RandomCrop(transforms, crop_size=CROP)
        limited = RandomCrop(transforms, crop_size=CROP, max_class_share=0.75)
        usual: dict[str, Any] = {
            "num_workers": 1,
            "persistent_workers": True,
            "shuffle": True,
            "worker_init_fn": _one_thread,
        }
        loaders: dict[str, DataLoader] = {
            "usual, Pillow": DataLoader(Usual(dataset, transforms, opencv=False), BATCH, **usual),
            "usual, OpenCV": DataLoader(Usual(dataset, transforms, opencv=True), BATCH, **usual),
            "augmentation=crop": TrainingLoader(photos, crop, **options),
            "... max_class_share=0.75": TrainingLoader(photos, limited, **options),
            "... data.cache=disk": TrainingLoader(CachedSamples(photos, "disk"), crop, **options),
        }
        times = interleaved({name: functools.partial(drain, loader) for name, loader in loaders.items()}, 5, warmup=1)
    base = times["usual, Pillow"]
    rows = [["1024x2048 PNG, crops of 512x1024", "images/s", "ratio"]]
    rows += [[name, f"{SCENES / value:.1f}", f"{base / value:.2f}"] for name, value in times.items()]
    print(table(rows))


if __name__ == "__main__":
    main()
