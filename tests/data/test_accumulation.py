"""Batches grouped by optimiser step, in one process and in several."""

import pytest

from data.accumulation import windows
from data.augmentation import Augmentation
from data.loading import ALONE, Share, TrainingLoader
from tests.engine.small import SIZE, Halves


def loader(samples: int, share: Share = ALONE) -> TrainingLoader:
    return TrainingLoader(Halves(samples), Augmentation(), image_size=SIZE, batch_size=2, seed=0, share=share)


def test_the_last_window_may_be_shorter() -> None:
    batches = loader(9)
    batches.order.epoch = 3
    names = [batch.names for batch in batches]
    found = list(windows(loader(9), 2, epoch=3))
    assert [[batch.names for batch in window.batches] for window in found] == [names[:2], names[2:4], names[4:]]
    assert [window.counted for window in found] == [2, 2, 1]
    assert [window.batches_done for window in found] == [2, 4, 5]
    assert [window.images_done for window in found] == [4, 8, 9]


def test_a_start_skips_batches() -> None:
    whole, rest = list(windows(loader(9), 2, epoch=1)), list(windows(loader(9), 2, epoch=1, start=2))
    assert [window.batches[0].names for window in rest] == [window.batches[0].names for window in whole[1:]]
    assert [window.images_done for window in rest] == [8, 9]


@pytest.mark.parametrize("samples", [1, 2, 9, 12, 13, 15])
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_sample_counts_once_over_all_processes(samples: int, processes: int, size: int) -> None:
    per_rank = [list(windows(loader(samples, Share(r, processes)), size, epoch=0)) for r in range(processes)]
    assert len({tuple(len(window.batches) for window in found) for found in per_rank}) == 1  # all exchange as often
    counted: list[str] = []
    for together in zip(*per_rank, strict=True):
        for window in together:
            counted += [name for batch in window.batches[: window.counted] for name in batch.names]
        assert {window.images_done for window in together} == {len(counted)}
    assert sorted(counted) == sorted(f"sample {index}" for index in range(samples))
