import numpy as np
import pytest

from data.labels import LabelSet, lookup_table

LABELS = LabelSet(("a", "b"), ((1, 2, 3), (4, 5, 6)))


def test_palette() -> None:
    palette = LABELS.palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert palette[[0, 1, 2, 255]].tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0], [255, 255, 255]]


def test_painted() -> None:
    colors = LABELS.painted(np.array([[0, 1], [2, 255]], np.uint8))
    assert colors.tolist() == [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0], [255, 255, 255]]]


def test_survives_a_checkpoint() -> None:
    assert LabelSet.from_dict(LABELS.to_dict()) == LABELS


def test_names_can_be_printed() -> None:
    labels = LabelSet.from_dict(
        {"names": ["\x1b[2Jcat", "two\nlines", "猫", "\ud800"], "colors": [[0, 0, i] for i in range(4)]}
    )
    assert labels.names == (r"\x1b[2Jcat", r"two\nlines", "猫", r"\ud800")


def test_names_are_equal_in_any_unicode_form() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert LabelSet((decomposed,), ((0, 0, 0),)).names == (composed,)
    with pytest.raises(ValueError, match="class names repeat"):
        LabelSet((composed, decomposed), ((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize(("names", "colors"), [(("a", "b"), ((0, 0, 0),)), (("a", "a"), ((0, 0, 0),) * 2), ((), ())])
def test_nonsense_is_refused(names: tuple, colors: tuple) -> None:
    with pytest.raises(ValueError):
        LabelSet(names, colors)


def test_lookup_table() -> None:
    table = lookup_table({7: 0, 8: 1}, ignored=(0, 255))
    assert [int(table[i]) for i in (7, 8, 0, 255, 9)] == [0, 1, 255, 255, -1]
