"""Fixtures for tests of data."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def workers_end_soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collect the loaders of a test at its end, without PyTorch's wait of 5 s for each of their workers.

    An error of a worker and its traceback form a cycle with the iterator. If it is garbage, the queues end before the
    iterator can tell the workers to.
    """
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    yield
    gc.collect()
