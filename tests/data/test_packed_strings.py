import pickle

import pytest

from data.packed_strings import PackedStrings

NAMES = ["a", "", "straße/日本 1.png", "b" * 500, "\udcff"]


def test_they_are_what_they_were() -> None:
    packed = PackedStrings(NAMES)
    assert list(packed) == NAMES and len(packed) == len(NAMES)
    assert packed[-1] == NAMES[-1] and packed[1:4] == NAMES[1:4] and packed[::-2] == NAMES[::-2]
    assert list(pickle.loads(pickle.dumps(packed))) == NAMES
    for index in (5, -6):
        with pytest.raises(IndexError):
            packed[index]


def test_none() -> None:
    assert list(PackedStrings([])) == []
    with pytest.raises(IndexError):
        PackedStrings([])[0]
