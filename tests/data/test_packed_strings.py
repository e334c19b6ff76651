import pickle

import pytest

from data.packed_strings import PackedStrings

NAMES = ["a", "", "straße/日本 1.png", "b" * 500, "\udcff", "\ud800"]


def test_they_are_what_they_were() -> None:
    packed = PackedStrings(NAMES)
    assert list(packed) == NAMES and len(packed) == len(NAMES)
    assert list(pickle.loads(pickle.dumps(packed))) == NAMES
    for index in (6, -1):
        with pytest.raises(IndexError):
            packed[index]


def test_none() -> None:
    assert list(PackedStrings([])) == []
    with pytest.raises(IndexError):
        PackedStrings([])[0]
