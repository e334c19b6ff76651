"""The words of messages."""

from __future__ import annotations

import pytest

from utils.text import plural


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "run", "0 runs"), (1, "run", "1 run"), (2, "run", "2 runs"), (1, "other file", "1 other file")],
)
def test_a_counted_noun(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


def test_an_irregular_noun() -> None:
    assert plural(1, "class", "classes") == "1 class" and plural(2, "class", "classes") == "2 classes"
