"""Reading, the network and writing at the same time, with no more held than a budget allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

BUDGET = 2**26
"""Pixels of photos that are held beside the one that is worked on: of those that are read ahead, and of those that are
yet to be written."""


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Value],
    weight: Callable[[Item], int],
    ahead: int = 3,
    budget: int = BUDGET,
) -> Iterator[tuple[Item, Value | Exception]]:
    """Each item with what `read` makes of it, or the error that it raised, in their order; the next ones are read in
    threads in the meantime.

    Args:
        weight: of an item, which a thread finds out, too; those that are held, the one given out included, weigh no
            more than the budget together, unless one alone does.
        ahead: how many are read ahead at most.
    """

    def attempt(item: Item) -> Value | Exception:
        try:
            return read(item)
        except Exception as error:
            return error

    source = iter(items)
    waiting: deque[tuple[Item, int, Future[Value | Exception]]] = deque()
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
    """Calls functions in a thread, in their order, so that the next photo need not wait. Leave with `with`, which waits
    until all is written."""

    def __init__(self, behind: int = 3, budget: int = BUDGET) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._behind, self._budget = behind, budget

    def __enter__(self) -> WriteBehind:
        return self

    def __call__(self, write: Callable[[], None], weight: int) -> None:
        """Has it called soon; raises what an earlier call raised."""
        self._waiting.append((weight, self._thread.submit(write)))
        while len(self._waiting) > self._behind or sum(w for w, _ in self._waiting) > self._budget:
            self._waiting.popleft()[1].result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for _weight, result in self._waiting:
                result.result()
