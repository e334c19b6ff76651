"""Read, predict and write in parallel, within a memory budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from utils.errors import Unreadable

Item = TypeVar("Item")
Value = TypeVar("Value")

BUDGET = 2**26
"""Maximum pixels of photos that are read ahead, and of those waiting to be written."""


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Value],
    weight: Callable[[Item], int],
    ahead: int = 3,
    budget: int = BUDGET,
) -> Iterator[tuple[Item, Value | Unreadable]]:
    """Yield each item with the result of `read`, or with the error if it cannot be read, while threads read ahead.

    Items come in their order; other errors of `read` are raised in place of the item.

    Args:
        weight: weight of an item, computed in a thread; the items held, including the one yielded, together weigh at
            most the budget, unless a single one exceeds it.
        ahead: maximum number of items to read ahead.
    """

    def attempt(item: Item) -> Value | Unreadable:
        try:
            return read(item)
        except Unreadable as error:
            return error

    source = iter(items)
    waiting: deque[tuple[Item, int, Future[Value | Unreadable]]] = deque()
    with ThreadPoolExecutor(max(ahead - 1, 1)) as readers, ThreadPoolExecutor(1) as scales:

        def weighed() -> tuple[Item, Future[int]] | None:
            for item in source:
                return item, scales.submit(weight, item)
            return None

        upcoming = weighed()

        def refill(held: int) -> None:
            nonlocal upcoming
            while upcoming is not None and len(waiting) < ahead:
                item, heavy = upcoming[0], upcoming[1].result()
                together = held + sum(other for _, other, _ in waiting)
                if together and together + heavy > budget:
                    return
                waiting.append((item, heavy, readers.submit(attempt, item)))
                upcoming = weighed()

        try:
            refill(0)
            while waiting:
                item, heavy, result = waiting.popleft()
                refill(heavy)
                yield item, result.result()
                refill(0)
        finally:
            readers.shutdown(cancel_futures=True)


def prefetched(items: Iterable[Value], ahead: int = 3) -> Generator[Value, None, None]:
    """Yield the items, none of which is None, while a thread computes the next ones.

    An error is raised in place of its item. The thread ends with the generator.

    Args:
        ahead: how many items to hold besides the one yielded.
    """
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, source, None) for _ in range(ahead))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, source, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)


class WriteBehind:
    """Call functions in a thread, in order, so that the caller need not wait. Leaving `with` waits for all of them.

    Args:
        behind: maximum number of waiting calls.
        budget: maximum total weight of waiting calls.
    """

    def __init__(self, behind: int = 3, budget: int = BUDGET) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._behind, self._budget = behind, budget

    def __enter__(self) -> WriteBehind:
        return self

    def __call__(self, write: Callable[[], None], weight: int) -> None:
        """Queue a call; raise the error of an earlier call. Waits while too many calls are queued."""
        self._waiting.append((weight, self._thread.submit(write)))
        while len(self._waiting) > self._behind or sum(w for w, _ in self._waiting) > self._budget:
            self._waiting.popleft()[1].result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for _weight, result in self._waiting:
                result.result()
