"""The words of messages."""

from __future__ import annotations

import pytest

from config.quoting import items_of
from utils.text import decoded, enumeration, list_of, plural


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_text_file_of_windows(encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""  # the other codec adds its own
    assert decoded((mark + "Straße, 猫\r\n").encode(encoding)) == "Straße, 猫\r\n"


def test_a_text_file_in_another_encoding() -> None:
    with pytest.raises(UnicodeDecodeError):
        decoded("größe".encode("latin-1"))


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "run", "0 runs"), (1, "run", "1 run"), (2, "run", "2 runs"), (1, "other file", "1 other file")],
)
def test_a_counted_noun(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


def test_an_irregular_noun() -> None:
    assert plural(1, "class", "classes") == "1 class" and plural(2, "class", "classes") == "2 classes"


@pytest.mark.parametrize(
    ("items", "text"),
    [(["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b and 1 more"), ([1, 2, 3, 4], "1, 2 and 2 more")],
)
def test_an_enumeration_that_is_cut(items: list[object], text: str) -> None:
    assert enumeration(items, 2) == text


@pytest.mark.parametrize("names", [["a", "b c"], ["a,b", "it's, c"], [" a", 'b"'], ["'a'", "b,"], ["größe [1]", "x=1"]])
def test_a_list_of_paths_is_read_as_it_was(names: list[str]) -> None:
    assert items_of(list_of(names)) == names
