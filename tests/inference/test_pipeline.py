import threading
import time
from collections.abc import Iterator

import pytest

from inference.pipeline import WriteBehind, prefetched, read_ahead
from utils.errors import Unreadable


def test_all_come_in_order_and_errors_are_given_out() -> None:
    def read(item: int) -> int:
        time.sleep(0.01 * (item % 3))
        if item == 3:
            raise Unreadable("three")
        return item * item

    found = list(read_ahead(range(7), read, weight=lambda item: 1))
    assert [item for item, _ in found] == list(range(7))
    assert [value for item, value in found if item != 3] == [0, 1, 4, 16, 25, 36]
    assert isinstance(found[3][1], Unreadable)


@pytest.mark.parametrize(("weights", "most"), [([1] * 8, 3), ([4] * 8, 2), ([9, 9, 9], 1), ([9, 1, 1, 9, 1], 2)])
def test_no_more_is_held_than_the_budget_allows(weights: list[int], most: int) -> None:
    """Held: read or being read, and not yet worked on to its end. The budget is 8."""
    held: list[int] = []
    largest = 0
    changed = threading.Condition()

    def read(item: int) -> int:
        nonlocal largest
        with changed:
            held.append(item)
            if sum(weights[i] for i in held) > 8:
                assert len(held) == 1, held
            largest = max(largest, len(held))
            changed.notify()
        return item

    for item, value in read_ahead(range(len(weights)), read, weight=lambda i: weights[i], ahead=2, budget=8):
        assert item == value
        fit = [i for i in range(item, len(weights))[:3] if sum(weights[item : i + 1]) <= 8] or [item]
        with changed:
            assert changed.wait_for(lambda fit=fit: sorted(held) == fit, timeout=60), held  # type: ignore[misc]
        time.sleep(0.005)  # more could be read in the meantime
        with changed:
            held.remove(item)
    assert largest == most


def test_reading_goes_on_while_the_network_works() -> None:
    second_is_read = threading.Event()

    def read(item: int) -> int:
        if item == 1:
            second_is_read.set()
        return item

    for item, _ in read_ahead(range(2), read, weight=lambda item: 1):
        if item == 0:
            assert second_is_read.wait(60)


def test_what_an_iterator_gives_is_made_ahead_in_order() -> None:
    third_is_made = threading.Event()

    def frames() -> Iterator[int]:
        for i in range(6):
            if i == 2:
                third_is_made.set()
            yield i

    found = []
    for item in prefetched(frames(), ahead=2):
        assert third_is_made.wait(60)
        found.append(item)
    assert found == list(range(6))


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def frames() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("three")

    found = []
    with pytest.raises(ValueError, match="three"):
        for item in prefetched(frames()):
            found.append(item)
    assert found == [1, 2]


def test_no_more_is_made_than_asked_for_and_leaving_early_ends_the_thread() -> None:
    made, third_is_made = [], threading.Event()
    makers: set[threading.Thread] = set()

    def frames() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            makers.add(threading.current_thread())
            if i == 2:
                third_is_made.set()
            yield i

    ready = prefetched(frames(), ahead=2)
    next(ready)
    assert third_is_made.wait(60)
    time.sleep(0.05)  # more could be made in the meantime
    assert made == [0, 1, 2]
    ready.close()
    (maker,) = makers
    assert made == [0, 1, 2] and not maker.is_alive()


def test_writing_is_behind_in_order_and_within_the_budget() -> None:
    go, written = threading.Event(), []

    def write(number: int) -> None:
        go.wait(60)
        written.append(number)

    with WriteBehind(behind=2, budget=10) as later:
        later(lambda: write(0), 1)
        later(lambda: write(1), 1)
        assert written == []  # it did not wait
        go.set()
        later(lambda: write(2), 11)  # heavier than the budget: waits for all
        assert written == [0, 1, 2]
        later(lambda: write(3), 1)
    assert written == [0, 1, 2, 3]


def test_what_cannot_be_written_is_raised() -> None:
    def fail() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"), WriteBehind() as later:
        later(fail, 1)
