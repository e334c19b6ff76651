"""Loader workers that die, or cannot hand over what they loaded."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from data.augmentation import Augmentation
from data.labels import LabelSet
from data.loading import TrainingLoader, ValidationLoader
from data.samples import Sample
from data.workers import WatchedSamples, end_workers_on_error, explain_dead_workers, worker_options
from tests.engine.small import SIZE, Halves
from utils.errors import UserError


class Deadly(Halves):
    """Kills the process that reads sample 5."""

    labels = LabelSet(("left", "right"), ((0, 0, 0), (255, 255, 255)))

    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

    def files(self, index: int) -> list[str]:
        return [f"images/{index}.jpg"]


def first(samples: list) -> object:
    return samples[0]


@pytest.mark.parametrize("key", [lambda index: index, lambda index: (3, index)])
def test_the_sample_is_named(key: Callable[[int], object]) -> None:
    class ByKey:
        def __getitem__(self, asked: object) -> Sample:
            return samples[asked[-1] if isinstance(asked, tuple) else asked]  # type: ignore[index]

    samples = Deadly(8)
    watched = WatchedSamples(ByKey(), samples, 2)  # type: ignore[arg-type]
    batches = [[key(index)] for index in range(8)]
    loader: DataLoader = DataLoader(watched, batch_sampler=batches, collate_fn=first, **worker_options(2, False))
    said = r"^a loader worker (is killed by signal: Killed|exited unexpectedly) while it read sample 5, images/5\.jpg; "
    with pytest.raises(UserError, match=said), explain_dead_workers([watched]):
        list(loader)


def test_a_worker_that_dies_between_samples_and_other_errors() -> None:
    watched = WatchedSamples(Halves(4), Halves(4), 1)
    with (
        pytest.raises(UserError, match=r"^a loader worker exited unexpectedly; the system"),
        explain_dead_workers([watched]),
    ):
        raise RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly")
    with pytest.raises(RuntimeError, match="something else"), explain_dead_workers([watched]):
        raise RuntimeError("something else")
    assert watched[2].name == "sample 2"  # without workers, as ever


def loaders() -> list[Any]:
    train = TrainingLoader(Halves(8), Augmentation(), image_size=SIZE, batch_size=2, seed=0, num_workers=2)
    return [train, ValidationLoader(Halves(8), batch_size=2, num_workers=2)]


def test_workers_end_with_an_error_in_the_training() -> None:
    both = loaders()
    with pytest.raises(ZeroDivisionError), end_workers_on_error([*both, "a loader without workers"]):
        for loader in both:
            next(iter(loader))
            assert all(worker.is_alive() for worker in loader._iterator._workers)
        _ = 1 / 0
    assert not any(worker.is_alive() for loader in both for worker in loader._iterator._workers)


@pytest.mark.usefixtures("workers_end_soon")
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)",
            r"^shared memory \(/dev/shm\) is too small .*--shm-size=8g\), or pass data\.num_workers=0$",
        ),
        (
            "unable to open shared memory object </torch_1_2_3> in read-write mode: Too many open files (24)",
            r"^too many open files: raise the limit with `ulimit -n 4096`, or pass data\.num_w",
        ),
        ("something else", r"^a loader worker could not hand over a batch \(something else\); pass data\.num_workers"),
    ],
)
def test_memory_that_cannot_be_shared(monkeypatch: pytest.MonkeyPatch, which: int, reason: str, said: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", fail)  # as the workers inherit it
    loader = loaders()[which]
    with pytest.raises(UserError, match=said):
        list(loader)


class Unsendable(Halves):
    """Has a name that cannot be sent to another process."""

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index)._replace(name=(lambda: index) if index == 5 else str(index))  # type: ignore[arg-type]


@pytest.mark.usefixtures("workers_end_soon")
def test_a_batch_that_cannot_be_sent_ends_the_wait_for_it() -> None:
    loader = ValidationLoader(Unsendable(8), batch_size=1, num_workers=2)
    said = r"could not hand over a batch \(.*(pickle|lambda).*\); pass data\.num_workers=0$"
    with pytest.raises(UserError, match=said):
        list(loader)


@pytest.mark.usefixtures("workers_end_soon")
def test_too_few_file_handles() -> None:
    """Each tensor that comes from a worker takes a file handle of the main process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(handle.name) for handle in Path("/proc/self/fd").iterdir())
    loader = ValidationLoader(Halves(400), batch_size=50, num_workers=1)
    batches = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, hard))
    try:
        with (
            pytest.raises(UserError, match=r"^too many open files: raise"),
            explain_dead_workers([loader.watched]),
        ):
            for batch in loader:
                batches.append(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
