"""Batches that are kept and augmented on a device, here the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.augmentation import sample_seed
from data.checking import checked_samples
from data.device_loading import DeviceTrainingLoader, DeviceValidationLoader
from data.loading import ValidationLoader
from data.samples import SegmentationDataset
from data.synthetic import Synthetic
from tests.conftest import TINY, runs_in
from tests.data.test_device_augmentation import shipped
from tests.in_process import run_here, succeeded
from train_segmentation import train
from utils.errors import UserError
from utils.run_folder import RunFolder

SIZE = (48, 64)


def samples(masks: bool, split: str = "train") -> SegmentationDataset:
    return checked_samples(Synthetic(SIZE, split, train_length=6, val_length=5), split, SIZE, masks=masks)


def loader(keep: bool = True, num_workers: int = 0, batch_size: int = 4) -> DeviceTrainingLoader:
    return DeviceTrainingLoader(
        samples(masks=True),
        shipped("standard", SIZE),
        image_size=SIZE,
        batch_size=batch_size,
        seed=7,
        device=torch.device("cpu"),
        keep=keep,
        num_workers=num_workers,
    )


@pytest.mark.parametrize("keep", [True, False])
def test_batches_hold_what_albumentations_makes(keep: bool) -> None:
    """The order of epoch 2 is that of the seed; each sample is augmented by its own seed."""
    loading = loader(keep)
    loading.order.epoch = 2
    order = np.random.default_rng((7, 2)).permutation(6)
    source, augmentation = samples(masks=True), shipped("standard", SIZE)
    batches = list(loading)
    assert [len(batch.names) for batch in batches] == [4, 2]
    images, masks = torch.cat([b.images for b in batches]), torch.cat([b.masks for b in batches])
    for index, image, mask in zip(order, images, masks, strict=True):
        sample = source[int(index)]
        expected, expected_mask = augmentation(sample.image, sample.mask, sample_seed(7, 2, int(index)))
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).mean() < 3
        assert (mask.numpy() != expected_mask).mean() < 0.05


def test_workers_change_nothing() -> None:
    for keep in (True, False):
        for one, other in zip(loader(keep), loader(keep, num_workers=2), strict=True):
            assert torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)
            assert one.names == other.names


def test_validation_batches_equal_those_of_the_usual_loader() -> None:
    source = samples(masks=False, split="val")
    kept = DeviceValidationLoader(source, image_size=SIZE, batch_size=2, device=torch.device("cpu"))
    usual = ValidationLoader(source, batch_size=2)
    assert len(kept) == len(usual) and kept.samples == usual.samples
    for one, other in zip(kept, usual, strict=True):
        assert torch.equal(one.images, other.images) and one.names == other.names
        assert all(torch.equal(a, b) for a, b in zip(one.masks, other.masks, strict=True))


def test_crops_of_another_size() -> None:
    with pytest.raises(UserError, match="end the list of transforms with a crop"):
        DeviceTrainingLoader(
            samples(masks=True),
            shipped("standard", (32, 32)),
            image_size=SIZE,
            batch_size=2,
            seed=0,
            device=torch.device("cpu"),
            keep=True,
        )


def test_an_epoch_continues_where_it_was_left() -> None:
    whole, rest = loader(batch_size=2), loader(batch_size=2)
    rest.order.start = 1
    for one, other in zip(list(whole)[1:], rest, strict=True):
        assert torch.equal(one.images, other.images) and one.names == other.names


def test_a_run(tmp_path: Path) -> None:
    succeeded(run_here(train, "train", *TINY, "data.cache=device", "trainer.epochs=1", cwd=tmp_path))
    assert RunFolder(runs_in(tmp_path)[0]).read_summary()["status"] == "finished"


def test_a_cache_on_the_device_without_its_augmentation(tmp_path: Path) -> None:
    done = run_here(train, "train", *TINY, "data.cache=device", "data.augment_on=cpu", cwd=tmp_path)
    assert done.returncode == 2 and "leave out data.augment_on=cpu" in done.stderr
    assert runs_in(tmp_path) == []
