"""What a loader worker was at when the system killed it."""

import os
import signal
from collections.abc import Callable

import pytest
from torch.utils.data import DataLoader

from data.labels import LabelSet
from data.samples import Sample
from data.workers import WatchedSamples, deaths_named, worker_options
from tests.engine.small import Halves
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
    with pytest.raises(UserError, match=said), deaths_named([watched]):
        list(loader)


def test_a_worker_that_dies_between_samples_and_other_errors() -> None:
    watched = WatchedSamples(Halves(4), Halves(4), 1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^a loader worker exited unexpectedly; the system"), deaths_named([watched]):
        raise RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly")
    with pytest.raises(RuntimeError, match="something else"), deaths_named([watched]):
        raise RuntimeError("something else")
    assert watched[2].name == "sample 2"  # without workers, as ever
