"""Rare-class sampling against the formula of its paper, in loops."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from data.accumulation import windows
from data.augmentation import Augmentation, sample_seed
from data.checking import checked_samples
from data.device_loading import DeviceTrainingLoader
from data.loading import ALONE, EpochBatches, Share, TrainingLoader
from data.sampling import rare_class_probabilities, rare_classes
from data.voc import VOC
from tests.conftest import TINY, runs_in
from tests.data.layouts import make_voc
from tests.data.test_loading import augmentation_of
from tests.engine.small import SIZE, Halves
from tests.in_process import run_here, succeeded
from train_segmentation import train

PIXELS = np.array([[90, 10, 0, 0], [100, 0, 0, 0], [60, 30, 10, 0], [0, 0, 0, 0], [99, 0, 1, 0]])
"""Of four classes, the last of which never occurs, in five samples, one of which has no label."""


def expected(temperature: float) -> list[float]:
    """P(c) = exp((1 - f_c) / T) / sum, over the classes that occur, then uniform among the samples that show c."""
    total = sum(sum(row) for row in PIXELS.tolist())
    shares = [sum(row[c] for row in PIXELS.tolist()) / total for c in range(3)]
    exponentials = [math.exp((1 - share) / temperature) for share in shares]
    classes = [value / sum(exponentials) for value in exponentials]
    samples = [0.0] * len(PIXELS)
    for c, probability in enumerate(classes):
        showing = [i for i in range(len(PIXELS)) if PIXELS[i, c] > 0]
        for i in showing:
            samples[i] += probability / len(showing)
    return samples


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5])
def test_the_probabilities_are_those_of_the_paper(temperature: float) -> None:
    np.testing.assert_allclose(rare_class_probabilities(PIXELS, temperature), expected(temperature), rtol=1e-9)


def test_a_very_low_temperature_shows_the_rarest_class() -> None:
    np.testing.assert_allclose(rare_class_probabilities(PIXELS, 1e-4), [0, 0, 0.5, 0, 0.5], atol=1e-12)


def test_samples_are_drawn_as_often_as_that() -> None:
    drawn = [index for seed in range(2000) for batch in epoch_of(seed, 0) for _, _, index in batch]
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(shares, expected(0.1), atol=0.02)  # four standard deviations


def epoch_of(seed: int, epoch: int, start: int = 0, share: Share = ALONE) -> list:
    order = EpochBatches(5, 2, seed, share, rare_class_probabilities(PIXELS, 0.1))
    order.epoch, order.start = epoch, start
    return list(order)


def test_an_epoch_depends_on_seed_and_epoch_only() -> None:
    assert epoch_of(3, 1) == epoch_of(3, 1)
    assert epoch_of(3, 1) != epoch_of(3, 2) != epoch_of(4, 2)
    assert epoch_of(3, 1, start=2) == epoch_of(3, 1)[2:]
    assert [len(batch) for batch in epoch_of(3, 1)] == [2, 2, 1]
    shares = [epoch_of(3, 1, share=Share(rank, 3)) for rank in range(3)]
    assert [batch for batches in shares for batch in batches] == epoch_of(3, 1)


def test_a_sample_that_is_shown_again_is_augmented_anew() -> None:
    keys = [key for seed in range(20) for batch in epoch_of(seed, 1) for key in batch]
    for first in range(0, len(keys), 5):
        epoch = keys[first : first + 5]
        assert len(set(epoch)) == 5
        for index, count in Counter(key[2] for key in epoch).items():
            assert sorted(key[1] for key in epoch if key[2] == index) == list(range(count))
    assert len({sample_seed(0, 1, 2, repeat) for repeat in range(100)}) == 100


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2])
def test_accumulation_and_processes_see_the_same_samples(processes: int, size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (11, 3)) * 10
    pixels[0] = 10
    probabilities = rare_class_probabilities(pixels, 0.1)

    def names(share: Share) -> list[list[str]]:
        options = {"image_size": SIZE, "batch_size": 2, "seed": 0, "probabilities": probabilities}
        loader = TrainingLoader(Halves(11), Augmentation(), share=share, **options)  # type: ignore[arg-type]
        found = windows(loader, size, epoch=2)
        return [[n for batch in window.batches[: window.counted] for n in batch.names] for window in found]

    alone = [name for window in names(Share(0, 1)) for name in window]
    together = [names(Share(rank, processes)) for rank in range(processes)]
    assert sorted(name for each in together for window in each for name in window) == sorted(alone)


def test_the_device_draws_the_same_samples() -> None:
    probabilities, augmentation = rare_class_probabilities(np.repeat(PIXELS, 2, 0), 0.1), augmentation_of("flip", SIZE)
    options = {"image_size": SIZE, "batch_size": 4, "seed": 1, "probabilities": probabilities}
    cpu = TrainingLoader(Halves(10), augmentation, **options)  # type: ignore[arg-type]
    device = DeviceTrainingLoader(Halves(10), augmentation, device=torch.device("cpu"), keep=True, **options)  # type: ignore[arg-type]
    for ours, theirs in zip(cpu, device, strict=True):
        assert ours.names == theirs.names
        assert torch.equal(ours.masks, theirs.masks)


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_classes_are_counted_in_the_masks_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    dataset = VOC(str(make_voc(tmp_path / "voc")), "train")
    samples = checked_samples(dataset, "train", (32, 32), masks=True, limit=3, cache=cache)  # type: ignore[arg-type]
    pixels = np.array([np.bincount(dataset[i].mask.ravel(), minlength=256)[:21] for i in range(3)])
    np.testing.assert_array_equal(rare_classes(samples, 0.05), rare_class_probabilities(pixels, 0.05))


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_DATA", str(tmp_path))
    words = ("data=voc", f"data.root={make_voc(tmp_path / 'voc')}", "data.sampling=rare_class", "trainer.epochs=1")
    succeeded(run_here(train, "train", *words, *TINY, cwd=tmp_path))
    assert len(runs_in(tmp_path)) == 1 and list((tmp_path / ".cache").glob("classes-*.npz"))
